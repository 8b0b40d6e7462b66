//! A lexer just good enough to tell Rust code from what only looks like it.

/// A text whose comments, strings and character literals are blanked out: every byte of theirs is a
/// space, line ends stay, so that positions and line numbers are those of the text.
pub(crate) struct Masked {
    /// The blanked text, as long as the original.
    pub(crate) code: String,
    /// Where each line starts.
    starts: Vec<usize>,
}

impl Masked {
    pub(crate) fn new(text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut code = bytes.to_vec();
        let mut at = 0;
        while at < bytes.len() {
            let end = at + literal_len(bytes, at);
            for byte in &mut code[at..end] {
                if *byte != b'\n' {
                    *byte = b' ';
                }
            }
            at = end.max(at + 1);
        }
        let ends = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            code: String::from_utf8_lossy(&code).into_owned(),
            starts: std::iter::once(0).chain(ends).collect(),
        }
    }

    /// The number, from 1, of the line that holds `offset`.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset)
    }

    /// Every place where `word` stands in the code as a word of its own.
    pub(crate) fn words<'a>(&'a self, word: &'a str) -> impl Iterator<Item = usize> + 'a {
        let bytes = self.code.as_bytes();
        self.code.match_indices(word).filter_map(move |(at, _)| {
            let before = at.checked_sub(1).is_none_or(|i| !is_word(bytes[i]));
            let after = bytes.get(at + word.len()).is_none_or(|b| !is_word(*b));
            (before && after).then_some(at)
        })
    }

    /// The first byte behind the bracket that closes the one at `open`, or the end of the text.
    pub(crate) fn closing(&self, open: usize) -> usize {
        let mut depth = 0_usize;
        for (at, byte) in self.code.bytes().enumerate().skip(open) {
            match byte {
                b'{' | b'(' | b'[' => depth += 1,
                b'}' | b')' | b']' => depth = depth.saturating_sub(1),
                _ => continue,
            }
            if depth == 0 {
                return at + 1;
            }
        }
        self.code.len()
    }

    /// The first `{` or `;` from `from` on that stands in no bracket: where an item's body begins,
    /// or where an item without a body ends.
    pub(crate) fn body(&self, from: usize) -> Option<usize> {
        let mut at = from;
        loop {
            match self.code.as_bytes().get(at)? {
                b'{' | b';' => return Some(at),
                b'(' | b'[' => at = self.closing(at),
                _ => at += 1,
            }
        }
    }

    /// The stretches of the text that are compiled for tests only.
    pub(crate) fn test_spans(&self) -> Vec<(usize, usize)> {
        let mark = "#[cfg(test)]";
        let spans = self.code.match_indices(mark).filter_map(|(at, _)| {
            // Attributes in brackets may follow before the item's own body.
            let body = self.body(at + mark.len())?;
            (self.code.as_bytes()[body] == b'{').then(|| (at, self.closing(body)))
        });
        spans.collect()
    }
}

/// Whether `byte` can be part of an identifier.
pub(crate) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

/// The identifier at the beginning of `text`, possibly empty.
pub(crate) fn leading_word(text: &str) -> &str {
    let len = text.bytes().take_while(|byte| is_word(*byte)).count();
    &text[..len]
}

/// The length of the comment, string or character literal that begins at `at`; 0 when none does.
fn literal_len(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    let in_word = at > 0 && is_word(bytes[at - 1]);
    match rest {
        [b'/', b'/', ..] => until(rest, 2, b"\n"),
        [b'/', b'*', ..] => block_comment_len(rest),
        [b'"', ..] => string_len(rest),
        [b'\'', ..] => char_len(rest),
        [b'r', ..] if !in_word => raw_len(rest, 1),
        [b'b' | b'c', b'r', ..] if !in_word => raw_len(rest, 2),
        _ => 0,
    }
}

/// Bytes from the beginning of `rest` up to `end`, which is looked for from `from` on.
fn until(rest: &[u8], from: usize, end: &[u8]) -> usize {
    let found = rest[from..]
        .windows(end.len())
        .position(|window| window == end);
    found.map_or(rest.len(), |position| from + position)
}

/// Block comments nest.
fn block_comment_len(rest: &[u8]) -> usize {
    let (mut at, mut depth) = (0, 0_usize);
    while at + 1 < rest.len() {
        match &rest[at..at + 2] {
            b"/*" => (at, depth) = (at + 2, depth + 1),
            b"*/" => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

fn string_len(rest: &[u8]) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// A character literal, or nothing when the quote begins a lifetime.
fn char_len(rest: &[u8]) -> usize {
    match rest {
        // The escaped byte is skipped: it may be a quote.
        [_, b'\\', _, ..] => (until(rest, 3, b"'") + 1).min(rest.len()),
        [_, first, ..] => {
            let len = match first {
                0..=0x7f => 1,
                0x80..=0xdf => 2,
                0xe0..=0xef => 3,
                _ => 4,
            };
            let closed = rest.get(1 + len) == Some(&b'\'');
            if closed { len + 2 } else { 0 }
        }
        _ => 0,
    }
}

/// A raw string whose hashes begin at `prefix`, or nothing when it is an identifier.
fn raw_len(rest: &[u8], prefix: usize) -> usize {
    let hashes = rest[prefix..].iter().take_while(|b| **b == b'#').count();
    let open = prefix + hashes;
    if rest.get(open) != Some(&b'"') {
        return 0;
    }
    let mut end = vec![b'"'];
    end.resize(1 + hashes, b'#');
    (until(rest, open + 1, &end) + end.len()).min(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Braces and words in literals and comments are no code, and everything after them still is.
    #[test]
    fn literals_are_blanked() {
        let rows = [
            ("a /* { /* } */ fn */ b", "a b"),
            ("x // } fn\ny", "x y"),
            (r#"f("}\"{", 'a')"#, "f( , )"),
            (r##"r#"}"{"# z"##, " z"),
            ("br\"\\\" z", " z"),
            ("'\\'' z", " z"),
            ("'\\u{7b}' z", " z"),
            ("&'a str", "&'a str"),
            ("'{' z", " z"),
            ("'é' z", " z"),
            ("for r in x", "for r in x"),
            ("r#type z", "r#type z"),
        ];
        for (text, expected) in rows {
            let code = Masked::new(text).code;
            assert_eq!(code.len(), text.len(), "{text}");
            let blanks = code
                .chars()
                .map(|char| if char == '\n' { ' ' } else { char });
            let mut short = blanks.collect::<String>();
            while short.contains("  ") {
                short = short.replace("  ", " ");
            }
            assert_eq!(short, expected, "{text}");
        }
    }

    /// Test modules are found with their whole body, and what follows them is no test.
    #[test]
    fn test_code_is_told_apart() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { \"}\" } }\nfn c() {}\n";
        let masked = Masked::new(text);
        let [(start, end)] = masked.test_spans()[..] else {
            panic!("one test module");
        };
        assert_eq!(masked.line(start), 2);
        assert_eq!(text[end..].trim(), "fn c() {}");
        assert!(
            Masked::new("#[cfg(test)]\nmod tests;")
                .test_spans()
                .is_empty()
        );
    }
}
