//! Errors in a form that is safe for a terminal.

use std::error::Error;
use std::fmt::{Display, Formatter};
use std::ops::Range;

use fintan_artifact::visible;
use miette::{Diagnostic, LabeledSpan, NamedSource, Severity, SourceCode};

/// An error with all characters made visible: the message and its causes, the quoted lines of the file, and the name of the
/// file. Frames and colours come from miette.
#[derive(Debug)]
pub(crate) struct Shown {
    message: String,
    code: Option<String>,
    severity: Option<Severity>,
    help: Option<String>,
    url: Option<String>,
    source: Option<NamedSource<String>>,
    labels: Vec<LabeledSpan>,
    related: Vec<Shown>,
    cause: Option<Box<Shown>>,
}

impl Shown {
    pub(crate) fn of(error: &dyn Diagnostic) -> Self {
        let words = |text: Option<Box<dyn Display + '_>>| text.map(|text| visible(&text.to_string()).into_owned());
        let (source, labels) = quoted(error);
        let cause = error.diagnostic_source().map(Self::of).or_else(|| error.source().map(Self::of_cause));
        Self {
            code: words(error.code()),
            severity: error.severity(),
            help: words(error.help()),
            url: words(error.url()),
            source,
            labels,
            related: error.related().into_iter().flatten().map(Self::of).collect(),
            ..Self::new(&error.to_string(), cause)
        }
    }

    fn of_cause(error: &dyn Error) -> Self {
        Self::new(&error.to_string(), error.source().map(Self::of_cause))
    }

    fn new(message: &str, cause: Option<Self>) -> Self {
        let message = visible(message).into_owned();
        // Most messages end with their cause, which is then not repeated.
        let cause = cause.filter(|cause| !message.ends_with(&cause.message)).map(Box::new);
        Self {
            message,
            code: None,
            severity: None,
            help: None,
            url: None,
            source: None,
            labels: Vec::new(),
            related: Vec::new(),
            cause,
        }
    }
}

/// The text that an error points into, and the places.
fn quoted(error: &dyn Diagnostic) -> (Option<NamedSource<String>>, Vec<LabeledSpan>) {
    // The whole text is kept, so that line numbers stay right.
    let whole = error.source_code().and_then(|code| {
        let whole = code.read_span(&(0, 0).into(), 0, usize::MAX).ok()?;
        let text = String::from_utf8_lossy(whole.data()).into_owned();
        // The name may come from the text or from the value that holds the text.
        Some((whole.name().unwrap_or_default().to_owned(), text))
    });
    let Some((name, text)) = whole else { return (None, Vec::new()) };
    let starts: Vec<usize> = error.labels().into_iter().flatten().map(|label| label.offset()).collect();
    let (text, left_out) = shortened(&text, &starts);
    let place = |raw: usize| {
        let before = left_out.iter().filter(|gap| gap.start < raw).map(|gap| gap.end.min(raw) - gap.start);
        lines(&text[..text.floor_char_boundary(raw - before.sum::<usize>())]).len()
    };
    let labels = error.labels().into_iter().flatten().map(|label| {
        let (start, end) = (place(label.offset()), place(label.offset() + label.len()));
        let words = label.label().map(|words| visible(words).into_owned());
        if label.primary() {
            LabeledSpan::new_primary_with_span(words, (start, end - start))
        } else {
            LabeledSpan::new_with_span(words, (start, end - start))
        }
    });
    let labels = labels.collect();
    (Some(NamedSource::new(visible(&name), lines(&text))), labels)
}

/// Largest number of bytes of a line that are shown. A terminal cannot show more, and miette fails beyond 65535 columns.
const LONGEST: usize = 400;

/// Shortens long lines of a text to the part around a place that an error points at, or to their start. Returns the ranges that
/// were left out too.
fn shortened(text: &str, places: &[usize]) -> (String, Vec<Range<usize>>) {
    let mut left_out = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let end = start + line.trim_end_matches(['\r', '\n']).len();
        if end - start > LONGEST {
            let place = places.iter().find(|place| (start..=end).contains(place)).unwrap_or(&start);
            let from = text.floor_char_boundary(place.saturating_sub(LONGEST / 4).max(start));
            let to = text.floor_char_boundary((from + LONGEST).min(end));
            left_out.extend([start..from, to..end].into_iter().filter(|gap| !gap.is_empty()));
        }
        start += line.len();
    }
    let mut kept = String::with_capacity(text.len());
    let mut from = 0;
    for gap in &left_out {
        kept.push_str(&text[from..gap.start]);
        from = gap.end;
    }
    kept.push_str(&text[from..]);
    (kept, left_out)
}

/// A text of several lines with all characters visible but its own line breaks and tabs.
fn lines(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for line in text.split_inclusive('\n') {
        let (line, end) = match (line.strip_suffix("\r\n"), line.strip_suffix('\n')) {
            (Some(line), _) => (line, "\r\n"),
            (None, Some(line)) => (line, "\n"),
            (None, None) => (line, ""),
        };
        let between: Vec<_> = line.split('\t').map(visible).collect();
        shown.push_str(&between.join("\t"));
        shown.push_str(end);
    }
    shown
}

impl Display for Shown {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Shown {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}

impl Diagnostic for Shown {
    fn code<'a>(&'a self) -> Option<Box<dyn Display + 'a>> {
        boxed(self.code.as_ref())
    }

    fn severity(&self) -> Option<Severity> {
        self.severity
    }

    fn help<'a>(&'a self) -> Option<Box<dyn Display + 'a>> {
        boxed(self.help.as_ref())
    }

    fn url<'a>(&'a self) -> Option<Box<dyn Display + 'a>> {
        boxed(self.url.as_ref())
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        (!self.labels.is_empty())
            .then(|| Box::new(self.labels.iter().cloned()) as Box<dyn Iterator<Item = LabeledSpan>>)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        let related = || self.related.iter().map(|shown| shown as &dyn Diagnostic);
        (!self.related.is_empty()).then(|| Box::new(related()) as Box<dyn Iterator<Item = &dyn Diagnostic>>)
    }

    fn diagnostic_source(&self) -> Option<&dyn Diagnostic> {
        self.cause.as_deref().map(|cause| cause as &dyn Diagnostic)
    }
}

fn boxed(text: Option<&String>) -> Option<Box<dyn Display + '_>> {
    text.map(|text| Box::new(text) as Box<dyn Display>)
}

#[cfg(test)]
mod tests {
    use miette::{GraphicalReportHandler, GraphicalTheme};

    use super::*;

    #[derive(Debug, thiserror::Error, Diagnostic)]
    #[error("wrong \u{1b}]0;title\u{7}: {cause}")]
    struct Hostile {
        #[source]
        cause: std::io::Error,
        #[help]
        help: String,
        #[source_code]
        text: NamedSource<String>,
        #[label("{word}")]
        span: (usize, usize),
        word: String,
    }

    fn hostile(cause: &str) -> Hostile {
        let text = "a = 1\r\nb\u{1b}[31m\t= \"\u{202e}x\" # wide\nc = 3\n";
        Hostile {
            cause: std::io::Error::other(cause.to_owned()),
            help: "do \u{9b}2J".into(),
            text: NamedSource::new("na\u{1b}me.toml", text.to_owned()),
            span: (text.find("\"\u{202e}").expect("there"), 6),
            word: "he\u{200b}re".into(),
        }
    }

    #[test]
    fn nothing_of_an_error_acts_on_a_terminal_and_the_caret_stays_in_its_place() {
        let shown = Shown::of(&hostile("no\u{1b}[0m"));
        let mut plain = String::new();
        let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor());
        handler.render_report(&mut plain, &shown).expect("rendered");
        assert_eq!(visible(&plain.replace('\n', "")), plain.replace('\n', ""), "{plain}");
        for part in [r"wrong \u{1b}]0;title\u{7}: no\u{1b}[0m", r"do \u{9b}2J", r"na\u{1b}me.toml:2:", r"he\u{200b}re"]
        {
            assert!(plain.contains(part), "{part}: {plain}");
        }
        assert_eq!(plain.matches(r"no\u{1b}[0m").count(), 1, "the cause is said once: {plain}");
        let lines: Vec<&str> = plain.lines().collect();
        let at = lines.iter().position(|line| line.contains(r"b\u{1b}[31m")).expect("the line");
        let column = |line: &str, of: char| line.chars().position(|c| c == of).expect("there");
        assert_eq!(column(lines[at + 1], '─'), column(lines[at], '"'), "{plain}");
    }

    #[test]
    fn a_line_of_any_length_is_cut_to_what_is_pointed_at() {
        let long = format!("a = 1\n{}b = \"x\"{}\nc = 3\n", "é\0".repeat(50_000), " ".repeat(100_000));
        let at = long.find("\"x\"").expect("there");
        let error = Hostile { text: NamedSource::new("a.toml", long), span: (at, 3), ..hostile("cause") };
        let mut plain = String::new();
        let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor());
        handler.render_report(&mut plain, &Shown::of(&error)).expect("rendered");
        assert!(plain.contains("a.toml:2:") && plain.contains("b = \"x\"") && plain.contains("c = 3"), "{plain}");
        assert!(plain.len() < 10_000, "{}", plain.len());
        let lines: Vec<&str> = plain.lines().collect();
        let at = lines.iter().position(|line| line.contains("b = ")).expect("the line");
        let column = |line: &str, of: char| line.chars().position(|c| c == of).expect("there");
        assert_eq!(column(lines[at + 1], '─'), column(lines[at], '"'), "{plain}");
    }

    #[test]
    fn colours_of_our_own_stay() {
        let mut coloured = String::new();
        let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode());
        handler.render_report(&mut coloured, &Shown::of(&hostile("cause"))).expect("rendered");
        assert!(coloured.contains("\u{1b}["));
        assert!(!coloured.contains("\u{1b}]0;") && !coloured.contains("\u{1b}[0;title"));
    }
}
