//! Makes every character of text from other sources visible.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Text that is safe to show on a terminal or a page: control and format characters are written as `\u{1b}`.
///
/// Control characters (including line breaks and tabs) give commands to a terminal. Format characters change the writing
/// direction or have no width. Names of files, classes and settings come from archives and folders of other people.
///
/// ```
/// use fintan_artifact::visible;
///
/// assert_eq!(visible("bad\u{1b}[31m\u{202e}gnp.png"), "bad\\u{1b}[31m\\u{202e}gnp.png");
/// assert_eq!(visible("χ für 図.png"), "χ für 図.png");
/// ```
#[must_use]
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if acts(c) {
            let _ = write!(shown, "{}", c.escape_unicode());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// JSON in which every character is visible; its content is unchanged.
///
/// In JSON without spaces, control and format characters ([`visible`]) occur only in strings, where `\u001b` stands for the
/// character itself.
#[must_use]
pub fn visible_json(json: &serde_json::Value) -> String {
    let text = json.to_string();
    if !text.contains(acts) {
        return text;
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if acts(c) {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(shown, "\\u{unit:04x}");
            }
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Whether a character is not shown as itself: Unicode's control and format characters (Cc, Cf), its line and paragraph
/// separators, and the plane of tags, whose characters are invisible.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{600}'..='\u{605}'
                | '\u{61c}'
                | '\u{6dd}'
                | '\u{70f}'
                | '\u{890}'..='\u{891}'
                | '\u{8e2}'
                | '\u{180e}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{110bd}'
                | '\u{110cd}'
                | '\u{13430}'..='\u{1343f}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_written_out_and_what_stands_there_stays() {
        let cases = [
            ("a\nb\tc\r", r"a\u{a}b\u{9}c\u{d}"),
            ("\u{7f}\u{9b}31m", r"\u{7f}\u{9b}31m"),
            ("\u{2066}x\u{2069}\u{200b}\u{feff}", r"\u{2066}x\u{2069}\u{200b}\u{feff}"),
            ("\u{2028}\u{e0041}", r"\u{2028}\u{e0041}"),
            ("χ₂ ± 3 │ e\u{301} 図 ع \u{1f600}", "χ₂ ± 3 │ e\u{301} 図 ع \u{1f600}"),
        ];
        for (text, shown) in cases {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn json_says_what_it_said() {
        let said = serde_json::json!({ "a\u{1b}\u{9b}\u{202e}\"\\": ["\u{e0041}\n", "χ", 1.5, null] });
        let shown = visible_json(&said);
        assert_eq!(shown, r#"{"a\u001b\u009b\u202e\"\\":["\udb40\udc41\n","χ",1.5,null]}"#);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("JSON"), said);
    }
}
