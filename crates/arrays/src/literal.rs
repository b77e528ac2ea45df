//! A parser for the Python literals in headers of `.npy` files.

/// The Python literals that occur in headers.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Text(String),
    Integer(i128),
    Bool(bool),
    /// A list or a tuple.
    Sequence(Vec<Literal>),
    Dictionary(Vec<(Literal, Literal)>),
}

/// Largest nesting depth of literals; only types of records nest.
const DEEPEST: usize = 32;

/// Parses a text that consists of one literal.
pub(crate) fn parse(text: &str) -> Result<Literal, String> {
    let mut parser = Parser { rest: text };
    let literal = parser.literal(0)?;
    parser.skip_blanks();
    if parser.rest.is_empty() { Ok(literal) } else { Err(format!("`{}` after its end", shortened(parser.rest))) }
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
    }

    /// Skips this character if it comes next, and returns whether it did.
    fn takes(&mut self, wanted: char) -> bool {
        self.skip_blanks();
        let found = self.rest.strip_prefix(wanted);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn unexpected<T>(&self) -> Result<T, String> {
        if self.rest.is_empty() { Err("it ends early".into()) } else { Err(format!("`{}`", shortened(self.rest))) }
    }

    fn literal(&mut self, depth: usize) -> Result<Literal, String> {
        if depth > DEEPEST {
            return Err(format!("more than {DEEPEST} brackets within each other"));
        }
        self.skip_blanks();
        for (word, value) in [("True", true), ("False", false)] {
            if let Some(rest) = self.rest.strip_prefix(word) {
                self.rest = rest;
                return Ok(Literal::Bool(value));
            }
        }
        match self.rest.chars().next() {
            Some('\'' | '"') => self.text(),
            Some('(') => self.sequence(')', depth),
            Some('[') => self.sequence(']', depth),
            Some('{') => self.dictionary(depth),
            Some('-' | '0'..='9') => self.integer(),
            _ => self.unexpected(),
        }
    }

    fn text(&mut self) -> Result<Literal, String> {
        let quote = &self.rest[..1];
        let inside = &self.rest[1..];
        // Only names of records contain escapes, and records are not read.
        let Some(end) = inside.find(quote) else { return Err("a text without an end".into()) };
        self.rest = &inside[end + 1..];
        Ok(Literal::Text(inside[..end].into()))
    }

    fn integer(&mut self) -> Result<Literal, String> {
        let digits = self.rest[1..].find(|c: char| !c.is_ascii_digit()).map_or(self.rest.len(), |end| end + 1);
        let (number, rest) = self.rest.split_at(digits);
        let number = number.parse().map_err(|_| format!("the number `{}`", shortened(number)))?;
        // Python 2 wrote the letter L behind long integers.
        self.rest = rest.strip_prefix('L').unwrap_or(rest);
        Ok(Literal::Integer(number))
    }

    fn sequence(&mut self, end: char, depth: usize) -> Result<Literal, String> {
        self.rest = &self.rest[1..];
        let mut items = Vec::new();
        while !self.takes(end) {
            items.push(self.literal(depth + 1)?);
            if !self.takes(',') {
                if self.takes(end) {
                    break;
                }
                return self.unexpected();
            }
        }
        Ok(Literal::Sequence(items))
    }

    fn dictionary(&mut self, depth: usize) -> Result<Literal, String> {
        self.rest = &self.rest[1..];
        let mut items = Vec::new();
        while !self.takes('}') {
            let key = self.literal(depth + 1)?;
            if !self.takes(':') {
                return self.unexpected();
            }
            items.push((key, self.literal(depth + 1)?));
            if !self.takes(',') {
                if self.takes('}') {
                    break;
                }
                return self.unexpected();
            }
        }
        Ok(Literal::Dictionary(items))
    }
}

fn shortened(text: &str) -> String {
    const SHOWN: usize = 20;
    let cut: String = text.chars().take(SHOWN).collect();
    if cut.len() < text.len() { format!("{cut}..") } else { cut }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_of_headers_are_read_and_others_refused() {
        let text = |text: &str| Literal::Text(text.into());
        assert_eq!(
            parse("{'descr': '<f8', \"shape\": (3, 2L,), 'fortran_order': False, } \n"),
            Ok(Literal::Dictionary(vec![
                (text("descr"), text("<f8")),
                (text("shape"), Literal::Sequence(vec![Literal::Integer(3), Literal::Integer(2)])),
                (text("fortran_order"), Literal::Bool(false)),
            ]))
        );
        assert_eq!(parse("()"), Ok(Literal::Sequence(Vec::new())));
        assert_eq!(parse("[-1]"), Ok(Literal::Sequence(vec![Literal::Integer(-1)])));
        let deep = "(".repeat(100_000);
        for wrong in ["", "{", "{'a'", "{'a' 1}", "'a", "(1 2)", "1 1", "-", "é", deep.as_str(), &"9".repeat(60)] {
            assert!(parse(wrong).is_err(), "{}", shortened(wrong));
        }
    }
}
