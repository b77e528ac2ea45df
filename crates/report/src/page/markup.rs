//! Pieces of HTML: escaped text, tables, pictures inside the page.

use std::fmt::Write as _;

/// Text as HTML.
pub(super) fn escape(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            _ => html.push(c),
        }
    }
    html
}

/// Bytes in base 64 (RFC 4648).
pub(super) fn base64(bytes: &[u8]) -> String {
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

/// A picture that lies in the page itself.
pub(super) fn png(bytes: &[u8], alt: &str) -> String {
    format!("<img src=\"data:image/png;base64,{}\" alt=\"{}\">", base64(bytes), escape(alt))
}

/// A drawing that lies in the page itself, without what only files have in front.
pub(super) fn svg(text: &str) -> String {
    let start = text.find("<svg").unwrap_or(0);
    format!("<div class=\"plot\">{}</div>", text[start..].trim_end())
}

/// A table whose first column names its rows. Cells are HTML.
#[derive(Default)]
pub(super) struct Table {
    pub(super) head: Vec<String>,
    /// Rows with their class.
    pub(super) rows: Vec<(&'static str, Vec<String>)>,
    pub(super) class: &'static str,
}

impl Table {
    pub(super) fn html(&self) -> String {
        let mut html = format!("<div class=\"wide\"><table class=\"{}\">\n<thead><tr>", self.class);
        for cell in &self.head {
            let _ = write!(html, "<th scope=\"col\">{cell}</th>");
        }
        html.push_str("</tr></thead>\n<tbody>\n");
        for (class, cells) in &self.rows {
            let _ = write!(html, "<tr class=\"{class}\">");
            for (i, cell) in cells.iter().enumerate() {
                let _ = if i == 0 {
                    write!(html, "<th scope=\"row\">{cell}</th>")
                } else {
                    write!(html, "<td>{cell}</td>")
                };
            }
            html.push_str("</tr>\n");
        }
        html.push_str("</tbody></table></div>\n");
        html
    }
}

/// Something that is folded away until it is asked for.
pub(super) fn folded(summary: &str, html: &str) -> String {
    format!("<details><summary>{}</summary>\n{html}</details>\n", escape(summary))
}

/// Four digits; of counts, all.
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

/// Markdown as this program writes it: headings, paragraphs, tables and text in fences.
pub(super) fn markdown(text: &str) -> String {
    let mut html = String::new();
    let mut lines = text.lines().peekable();
    let cells = |line: &str| -> Vec<String> { line.trim_matches('|').split('|').map(|c| escape(c.trim())).collect() };
    while let Some(line) = lines.next() {
        if line.starts_with("```") {
            let block: Vec<&str> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
            let _ = writeln!(html, "<pre>{}</pre>", escape(&block.join("\n")));
        } else if line.starts_with('|') {
            let mut table = Table { head: cells(line), ..Table::default() };
            while let Some(row) = lines.next_if(|line| line.starts_with('|')) {
                if !row.starts_with("| ---") {
                    table.rows.push(("", cells(row)));
                }
            }
            html.push_str(&table.html());
        } else if !line.trim().is_empty() && !line.starts_with(['#', '!']) {
            let _ = writeln!(html, "<p>{}</p>", escape(line));
        }
    }
    html
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
    fn text_cannot_become_markup() {
        assert_eq!(escape("<a href=\"x\">&"), "&lt;a href=&quot;x&quot;&gt;&amp;");
        let html = markdown("# t\n\na <b>\n\n```text\nx  y\n```\n| l | χ |\n| --- | --- |\n| 1 | 2 |\n");
        assert!(html.contains("<p>a &lt;b&gt;</p>") && html.contains("<pre>x  y</pre>"), "{html}");
        assert!(html.contains("<th scope=\"row\">1</th><td>2</td>") && !html.contains("---"), "{html}");
    }
}
