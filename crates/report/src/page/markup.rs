//! HTML elements: text, tables, and pictures embedded in the page.
//!
//! Markup is a type, and text is escaped when it becomes markup: a name from a run directory cannot become a tag anywhere.
//! Only the page's own style and script are not escaped ([`as_it_is`]).

use fintan_artifact::visible;
use maud::{Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

/// Text with every character visible.
pub(super) fn text(text: impl AsRef<str>) -> Markup {
    html! { (visible(text.as_ref())) }
}

/// Text of several lines.
pub(super) fn lines(text: &str) -> Markup {
    html! { pre { @for line in text.lines() { (visible(line)) "\n" } } }
}

/// The page's own style or script, which its policy allows.
pub(super) fn as_it_is(ours: &str) -> Markup {
    PreEscaped(ours.to_owned())
}

/// The content policy of the page: it may show embedded pictures, use this style, and run this one script.
pub(super) fn policy(style: &str, script: &str) -> String {
    let hash = |text: &str| base64(&Sha256::digest(text.as_bytes()));
    format!(
        "default-src 'none'; img-src data:; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        hash(style),
        hash(script)
    )
}

/// Encodes bytes in base 64 (RFC 4648).
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let word = three.iter().fold(0_u32, |word, &byte| word << 8 | u32::from(byte)) << (8 * (3 - three.len()));
        for digit in 0..4 {
            let shown = digit <= three.len();
            text.push(if shown { DIGITS[(word >> (18 - 6 * digit) & 63) as usize].into() } else { '=' });
        }
    }
    text
}

/// A file that is shown as a picture; browsers run no scripts and load no links in it.
pub(super) enum Picture {
    Png(Vec<u8>),
    /// A vector drawing.
    Svg(String),
}

impl Picture {
    /// The picture in `bytes`, recognised by its first bytes; `None` for other files.
    pub(super) fn of(bytes: Vec<u8>) -> Option<Self> {
        if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
            return Some(Self::Png(bytes));
        }
        let drawing = String::from_utf8(bytes).ok()?;
        (drawing.starts_with("<svg") || drawing.starts_with("<?xml")).then_some(Self::Svg(drawing))
    }

    pub(super) fn is_drawing(&self) -> bool {
        match self {
            Self::Png(_) => false,
            Self::Svg(_) => true,
        }
    }

    /// The picture as a data URL.
    pub(super) fn address(&self) -> String {
        match self {
            Self::Png(bytes) => format!("data:image/png;base64,{}", base64(bytes)),
            Self::Svg(drawing) => {
                let mut address = String::from("data:image/svg+xml,");
                for &byte in drawing.trim_end().as_bytes() {
                    // Letters are not encoded, so that the page can be searched.
                    if byte.is_ascii_alphanumeric() || b" -_.,:;/=".contains(&byte) {
                        address.push(byte.into());
                    } else {
                        address.push('%');
                        address.extend(
                            [byte >> 4, byte & 15].map(|digit| char::from(b"0123456789ABCDEF"[usize::from(digit)])),
                        );
                    }
                }
                address
            }
        }
    }

    /// The picture embedded in the page; dark mode inverts drawings.
    pub(super) fn html(&self, alt: &str) -> Markup {
        html! { img class=[self.is_drawing().then_some("plot")] src=(self.address()) alt=(visible(alt)); }
    }
}

/// A table whose first column contains the names of the rows.
#[derive(Default)]
pub(super) struct Table {
    pub(super) head: Vec<Markup>,
    /// Rows with their CSS class.
    pub(super) rows: Vec<(&'static str, Vec<Markup>)>,
    pub(super) class: &'static str,
}

impl Table {
    pub(super) fn html(&self) -> Markup {
        html! {
            div.wide {
                table class=(self.class) {
                    "\n" thead { tr { @for cell in &self.head { th scope="col" { (cell) } } } }
                    "\n" tbody {
                        "\n"
                        @for (class, cells) in &self.rows {
                            tr class=(class) {
                                @for (i, cell) in cells.iter().enumerate() {
                                    @if i == 0 { th scope="row" { (cell) } } @else { td { (cell) } }
                                }
                            }
                            "\n"
                        }
                    }
                }
            }
            "\n"
        }
    }
}

/// Content that is hidden until the reader opens it.
pub(super) fn folded(summary: &str, inside: &Markup) -> Markup {
    html! { details { summary { (summary) } "\n" (inside) } "\n" }
}

/// Whether the markup is empty.
pub(super) fn is_empty(markup: &Markup) -> bool {
    markup.0.is_empty()
}

/// A number with four digits; a count with all its digits.
pub(super) fn number(x: f64) -> String {
    if x.fract() == 0.0 && x.abs() < 1e9 {
        return format!("{x:.0}");
    }
    if (1e-3..1e5).contains(&x.abs()) {
        format!("{x:.*}", (3.0 - x.abs().log10().floor()).clamp(0.0, 6.0) as usize)
    } else {
        format!("{x:.3e}")
    }
}

/// Converts the Markdown that this program writes: headings, paragraphs, tables and fenced text.
pub(super) fn markdown(written: &str) -> Markup {
    let mut pieces: Vec<Markup> = Vec::new();
    let mut rest = written.lines().peekable();
    let cells = |line: &str| -> Vec<Markup> { line.trim_matches('|').split('|').map(|c| text(c.trim())).collect() };
    while let Some(line) = rest.next() {
        if line.starts_with("```") {
            let block: Vec<&str> = rest.by_ref().take_while(|line| !line.starts_with("```")).collect();
            pieces.push(lines(&block.join("\n")));
        } else if line.starts_with('|') {
            let mut table = Table { head: cells(line), ..Table::default() };
            while let Some(row) = rest.next_if(|line| line.starts_with('|')) {
                if !row.starts_with("| ---") {
                    table.rows.push(("", cells(row)));
                }
            }
            pieces.push(table.html());
        } else if !line.trim().is_empty() && !line.starts_with(['#', '!']) {
            pieces.push(html! { p { (text(line)) } });
        }
    }
    html! { @for piece in pieces { (piece) "\n" } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_standard() {
        // The examples of RFC 4648, section 10.
        let examples = ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"];
        for (n, expected) in examples.into_iter().enumerate() {
            assert_eq!(base64(&b"foobar"[..n]), expected);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xbf]), "+/+/");
    }

    #[test]
    fn the_policy_names_the_script_by_its_hash() {
        // The digest of `abc` from FIPS 180-2, appendix B.
        let policy = policy("", "abc");
        assert!(policy.contains("script-src 'sha256-ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0='"), "{policy}");
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
    }

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(text("<a href=\"x\">&\u{202e}").into_string(), "&lt;a href=&quot;x&quot;&gt;&amp;\\u{202e}");
        let html = markdown("# t\n\na <b>\n\n```text\nx  y\n```\n| l | χ |\n| --- | --- |\n| 1 | 2 |\n").into_string();
        assert!(html.contains("<p>a &lt;b&gt;</p>") && html.contains("<pre>x  y\n</pre>"), "{html}");
        assert!(html.contains("<th scope=\"row\">1</th><td>2</td>") && !html.contains("---"), "{html}");
        let table = Table { head: vec![text("<")], rows: vec![("", vec![text("</script>")])], class: "" }.html();
        assert!(table.into_string().contains("<th scope=\"row\">&lt;/script&gt;</th>"));
        assert!(folded("</summary>", &text("x")).into_string().starts_with("<details><summary>&lt;/summary&gt;"));
    }

    #[test]
    fn pictures_are_addresses_and_nothing_else() {
        let drawing = b"<svg onload=\"alert(1)\"><text>\xcf\x87 of</text></svg>\n".to_vec();
        let html = Picture::of(drawing).expect("a drawing").html("\"><script>").into_string();
        let address = "data:image/svg+xml,%3Csvg onload=%22alert%281%29%22%3E%3Ctext%3E%CF%87 of%3C/text%3E%3C/svg%3E";
        assert_eq!(html, format!("<img class=\"plot\" src=\"{address}\" alt=\"&quot;&gt;&lt;script&gt;\">"));
        let picture = Picture::of(b"\x89PNG\r\n\x1a\n".to_vec()).expect("a picture");
        assert_eq!(picture.html("").into_string(), "<img src=\"data:image/png;base64,iVBORw0KGgo=\" alt=\"\">");
        assert!(Picture::of(b"-----BEGIN KEY-----".to_vec()).is_none() && Picture::of(Vec::new()).is_none());
    }
}
