//! One Rust source as the checks see it: its code without comments and literals, and which lines are tests. It is a reader
//! of tokens, not of Rust: it knows just so much of the language as it takes not to mistake a text for code.

/// A source with the contents of comments, strings and characters blanked out; lines stay where they are.
pub struct Source {
    pub code: String,
    /// For each line, whether it belongs to a test.
    is_test: Vec<bool>,
}

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    /// From the line of `fn` to that of the closing brace.
    pub lines: usize,
    pub is_test: bool,
}

impl Source {
    pub fn read(path: &str, text: &str) -> Source {
        let code = code_only(text);
        let whole = is_test_file(path);
        let mut is_test = vec![whole; code.lines().count()];
        for (start, end) in test_items(&code) {
            let lines = line_of(&code, start)..=line_of(&code, end);
            is_test.get_mut(lines).into_iter().flatten().for_each(|line| *line = true);
        }
        Source { code, is_test }
    }

    /// Lines that are not tests.
    pub fn lines_without_tests(&self) -> usize {
        self.is_test.iter().filter(|is_test| !**is_test).count()
    }

    /// Every line: its number from 1, its code, and whether it is of a test.
    pub fn lines(&self) -> impl Iterator<Item = (usize, &str, bool)> {
        let lines = self.code.lines().zip(&self.is_test).enumerate();
        lines.map(|(index, (code, is_test))| (index + 1, code, *is_test))
    }

    pub fn functions(&self) -> Vec<Function> {
        let code = self.code.as_bytes();
        let mut functions = Vec::new();
        for start in words(&self.code, "fn") {
            let name: String =
                self.code[start + 2..].trim_start().chars().take_while(|c| is_word(*c)).collect();
            if let (false, Some(end)) = (name.is_empty(), item_end(code, start))
                && code[end] == b'}'
            {
                let first = line_of(&self.code, start);
                let lines = line_of(&self.code, end) - first + 1;
                functions.push(Function { name, lines, is_test: self.is_test[first] });
            }
        }
        functions
    }
}

/// Where a word stands alone in code.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(start, _)| start).filter(move |start| {
        let before = code[..*start].chars().next_back();
        let after = code[start + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

/// Whether a word stands alone in code and is called there, be it with its types between.
pub fn calls(code: &str, word: &str) -> bool {
    words(code, word).any(|start| {
        let after = &code[start + word.len()..];
        after.starts_with('(') || after.starts_with("::<")
    })
}

/// Files that hold nothing but tests.
pub fn is_test_file(path: &str) -> bool {
    path.starts_with("tests/") || path.contains("/tests/") || path.ends_with("/tests.rs")
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn line_of(code: &str, position: usize) -> usize {
    code.as_bytes()[..position].iter().filter(|octet| **octet == b'\n').count()
}

/// Where the items begin and end that are built for tests only.
fn test_items(code: &str) -> Vec<(usize, usize)> {
    let octets = code.as_bytes();
    let starts =
        code.match_indices("#[cfg(test)]").map(|(start, attribute)| (start, start + attribute.len()));
    starts.map(|(start, after)| (start, item_end(octets, after).unwrap_or(code.len() - 1))).collect()
}

/// The end of an item: its closing brace, or the semicolon of one that has none.
fn item_end(code: &[u8], from: usize) -> Option<usize> {
    let mut depth = 0_usize;
    let mut in_braces = false;
    for (position, octet) in code.iter().enumerate().skip(from) {
        match octet {
            b'{' | b'(' | b'[' => {
                in_braces |= *octet == b'{' && depth == 0;
                depth += 1;
            }
            b'}' | b')' | b']' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 && *octet == b'}' && in_braces {
                    return Some(position);
                }
            }
            b';' if depth == 0 => return Some(position),
            _ => {}
        }
    }
    None
}

/// Blanks what is no code, octet by octet, so that positions and lines stay.
fn code_only(text: &str) -> String {
    let octets = text.as_bytes();
    let mut code = octets.to_vec();
    let mut position = 0;
    while position < octets.len() {
        let end = match literal_end(octets, position) {
            Some(end) => end.min(octets.len()),
            None => {
                position += 1;
                continue;
            }
        };
        for octet in &mut code[position..end] {
            if *octet != b'\n' {
                *octet = b' ';
            }
        }
        position = end;
    }
    String::from_utf8(code).expect("comments and literals are blanked whole")
}

/// The end of the comment or literal that begins here, if one does.
fn literal_end(text: &[u8], start: usize) -> Option<usize> {
    let rest = &text[start..];
    let before = start.checked_sub(1).map_or(b' ', |before| text[before]);
    if rest.starts_with(b"//") {
        let length = rest.iter().position(|octet| *octet == b'\n');
        Some(start + length.unwrap_or(rest.len()))
    } else if rest.starts_with(b"/*") {
        Some(block_comment_end(text, start))
    } else if rest.starts_with(b"r") && (!is_word(char::from(before)) || matches!(before, b'b' | b'c')) {
        raw_string_end(text, start)
    } else if rest.starts_with(b"\"") {
        Some(quoted_end(text, start, b'"'))
    } else if rest.starts_with(b"'") && is_character(rest) {
        Some(quoted_end(text, start, b'\''))
    } else {
        None
    }
}

fn block_comment_end(text: &[u8], start: usize) -> usize {
    let mut depth = 0;
    let mut position = start;
    while position < text.len() {
        if text[position..].starts_with(b"/*") {
            depth += 1;
            position += 2;
        } else if text[position..].starts_with(b"*/") {
            depth -= 1;
            position += 2;
            if depth == 0 {
                return position;
            }
        } else {
            position += 1;
        }
    }
    position
}

fn raw_string_end(text: &[u8], start: usize) -> Option<usize> {
    let hashes = text[start + 1..].iter().take_while(|octet| **octet == b'#').count();
    let open = start + 1 + hashes;
    if text.get(open) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let length = text[open + 1..].windows(close.len()).position(|window| window == close);
    Some(length.map_or(text.len(), |length| open + 1 + length + close.len()))
}

fn quoted_end(text: &[u8], start: usize, quote: u8) -> usize {
    let mut position = start + 1;
    while position < text.len() && text[position] != quote {
        position += if text[position] == b'\\' { 2 } else { 1 };
    }
    position + 1
}

/// Tells a character from a lifetime: the one has a quote behind it, the other has not.
fn is_character(rest: &[u8]) -> bool {
    let Some(first) = rest.get(1) else { return false };
    let length = match first {
        b'\\' => return true,
        0..0x80 => 1,
        0x80..0xE0 => 2,
        0xE0..0xF0 => 3,
        _ => 4,
    };
    rest.get(1 + length) == Some(&b'\'')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_are_no_code() {
        let table = [
            ("a // b", "a     "),
            ("a /* b /* c */ d */ e", "a                   e"),
            ("a(\"b\\\"c\", d)", "a(      , d)"),
            ("a(r#\"b\"c\"#, d)", "a(        , d)"),
            ("a(br\"b\\\", d)", "a(b     , d)"),
            ("r#fn + 'a'", "r#fn +    "),
            ("f::<'a>('\\'', b'\"', 'é')", "f::<'a>(    , b   ,     )"),
            ("\"a\nb\"c", "  \n  c"),
            ("\"open", "     "),
        ];
        for (text, expected) in table {
            assert_eq!(code_only(text), expected, "{text}");
        }
    }

    #[test]
    fn functions_are_measured_with_what_is_inside_them() {
        let text = "trait T {\n    fn a(&self) -> [u8; 2];\n}\n\
                    fn b<F: Fn(u8)>(f: F) -> [u8; 2] {\n    fn c() { if x {} }\n    \"}\"\n}\n\
                    type D = fn(u8) -> u8;\nconst fn e() {}\n#[cfg(test)]\nmod t {\n    fn f() {\n    }\n}\n";
        let function = |name: &str, lines, is_test| Function { name: name.to_owned(), lines, is_test };
        let expected = [
            function("b", 4, false),
            function("c", 1, false),
            function("e", 1, false),
            function("f", 2, true),
        ];
        assert_eq!(Source::read("src/a.rs", text).functions(), expected);
    }

    #[test]
    fn test_modules_are_told_from_code() {
        let text = "//! A.\nfn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n#[cfg(test)]\nmod d;\n";
        let source = Source::read("src/a.rs", text);
        assert_eq!(source.lines_without_tests(), 3);
        let tests: Vec<usize> = source.lines().filter(|line| line.2).map(|line| line.0).collect();
        assert_eq!(tests, [3, 4, 5, 6, 8, 9]);
        for path in ["tests/a.rs", "src/a/tests.rs", "src/a/tests/b.rs"] {
            assert_eq!(Source::read(path, text).lines_without_tests(), 0, "{path}");
        }
    }

    #[test]
    fn calls_are_told_from_longer_words() {
        let table = [
            ("sleep(x)", true),
            ("thread::sleep(x)", true),
            ("sleep::<u8>(x)", true),
            ("asleep(x)", false),
            ("sleep_until(x)", false),
            ("use sleep;", false),
        ];
        for (code, expected) in table {
            assert_eq!(calls(code, "sleep"), expected, "{code}");
        }
    }
}
