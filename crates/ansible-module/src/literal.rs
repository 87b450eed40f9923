//! Python literals, as ansible accepts them for mappings: `{'a': [1, True, None]}`.

use serde_json::{Map, Value};

use crate::python;

/// As deep as serde_json reads; deeper text would overflow the stack.
const MAX_DEPTH: u8 = 128;

/// Reads a whole text as one literal; `None` when it is none.
pub(crate) fn parse(text: &str) -> Option<Value> {
    let mut parser = Parser {
        rest: text,
        depth: 0,
    };
    let value = parser.value()?;
    parser.skip_space();
    parser.rest.is_empty().then_some(value)
}

struct Parser<'a> {
    rest: &'a str,
    depth: u8,
}

impl Parser<'_> {
    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip_space();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn value(&mut self) -> Option<Value> {
        if self.depth == MAX_DEPTH {
            return None;
        }
        self.depth += 1;
        self.skip_space();
        let value = match self.rest.chars().next()? {
            '{' => self.dict(),
            '[' => self.list("[", "]"),
            '(' => self.list("(", ")"),
            quote @ ('\'' | '"') => self.string(quote).map(Value::String),
            _ => self.word(),
        };
        self.depth -= 1;
        value
    }

    fn dict(&mut self) -> Option<Value> {
        self.eat("{");
        let mut map = Map::new();
        while !self.eat("}") {
            let key = self.value().filter(|k| !k.is_array() && !k.is_object())?;
            if !self.eat(":") {
                return None;
            }
            map.insert(python::str(&key), self.value()?);
            if !self.eat(",") && !self.rest.starts_with('}') {
                return None;
            }
        }
        Some(map.into())
    }

    fn list(&mut self, open: &str, close: &str) -> Option<Value> {
        self.eat(open);
        let mut list = Vec::new();
        while !self.eat(close) {
            list.push(self.value()?);
            if !self.eat(",") && !self.rest.starts_with(close) {
                return None;
            }
        }
        Some(list.into())
    }

    fn string(&mut self, quote: char) -> Option<String> {
        self.next();
        let mut text = String::new();
        loop {
            match self.next()? {
                c if c == quote => return Some(text),
                '\n' => return None,
                '\\' => match self.next()? {
                    'n' => text.push('\n'),
                    't' => text.push('\t'),
                    'r' => text.push('\r'),
                    'x' => text.push(self.code_point(2)?),
                    'u' => text.push(self.code_point(4)?),
                    c @ ('\\' | '\'' | '"') => text.push(c),
                    c => text.extend(['\\', c]),
                },
                c => text.push(c),
            }
        }
    }

    fn code_point(&mut self, digits: usize) -> Option<char> {
        let (hex, rest) = self.rest.split_at_checked(digits)?;
        self.rest = rest;
        char::from_u32(u32::from_str_radix(hex, 16).ok()?)
    }

    fn word(&mut self) -> Option<Value> {
        let end = self
            .rest
            .find(|c: char| !c.is_ascii_alphanumeric() && !"+-._".contains(c))
            .unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        match word {
            "True" => Some(true.into()),
            "False" => Some(false.into()),
            "None" => Some(Value::Null),
            _ => serde_json::from_str(word).ok().filter(Value::is_number),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_nested_literals() {
        let text = r"{'a': [1, 2.5, True,], 'b': (None, 'it\'s'), 3: {}, 'é': '\x41'}";
        assert_eq!(
            parse(text),
            Some(json!({"a": [1, 2.5, true], "b": [null, "it's"], "3": {}, "é": "A"}))
        );
    }

    #[test]
    fn refuses_what_is_no_literal() {
        for text in [
            "{'a'}",
            "{'a': }",
            "{'a': x}",
            "{'a': 1} 2",
            "{'a': 1",
            "{[1]: 2}",
            "{'a' 1}",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(&"[".repeat(1_000_000)), None);
    }
}
