//! How long files and functions may be.

use crate::lexer::leading_word;
use crate::{Complaint, SourceFile};

/// Longest file in lines. A longer one has two subjects: split it by what a reader looks for.
const FILE_LINES_MAX: usize = 500;

/// Longest function in lines, from `fn` to its closing brace. What does not fit on a screen is not
/// seen whole; `clippy.toml` says the same.
const FUNCTION_LINES_MAX: usize = 70;

/// Files above the limit.
pub(crate) fn files(file: &SourceFile) -> Vec<Complaint> {
    let lines = file.text.lines().count();
    if lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    let message = format!("has {lines} lines, {FILE_LINES_MAX} are allowed: split it by subject");
    vec![file.complaint(0, message)]
}

/// Functions above the limit.
pub(crate) fn functions(file: &SourceFile) -> Vec<Complaint> {
    let masked = &file.masked;
    let mut found = Vec::new();
    for at in masked.words("fn") {
        let name = leading_word(masked.code[at + 2..].trim_start());
        // `fn(u8)` is a type, and a signature that ends in `;` has no body.
        let Some(open) = masked.body(at).filter(|_| !name.is_empty()) else {
            continue;
        };
        if masked.code.as_bytes()[open] != b'{' {
            continue;
        }
        let lines = masked.line(masked.closing(open) - 1) - masked.line(at) + 1;
        if lines > FUNCTION_LINES_MAX {
            let message = format!(
                "fn {name} has {lines} lines, {FUNCTION_LINES_MAX} are allowed: name its steps"
            );
            found.push(file.complaint(at, message));
        }
    }
    found
}

/// Lines that are comments and nothing else.
pub(crate) fn comment_lines(file: &SourceFile) -> usize {
    let lines = file.text.lines();
    lines
        .filter(|line| line.trim_start().starts_with("//"))
        .count()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file may have exactly the limit.
    #[test]
    fn long_files_are_found() {
        let fine = SourceFile::new("src/a.rs", &"x\n".repeat(FILE_LINES_MAX));
        assert_eq!(files(&fine), []);
        let long = SourceFile::new("src/a.rs", &"x\n".repeat(FILE_LINES_MAX + 1));
        assert_eq!(files(&long).len(), 1);
    }

    /// A function may have exactly the limit, braces in strings do not end it, and a closure type or
    /// a trait's signature is no function.
    #[test]
    fn long_functions_are_found() {
        let function = |lines: usize| {
            let body = "    f(\"}\");\n".repeat(lines - 2);
            let text = "type F = fn(u8);\ntrait T { fn g(x: [u8; 2]); }\n\n";
            let item = format!("pub async fn long<T: Fn(u8)>(\n) -> [u8; 3] {{\n{body}}}\n");
            SourceFile::new("src/a.rs", &format!("{text}{item}fn short() {{}}\n"))
        };
        assert_eq!(functions(&function(FUNCTION_LINES_MAX - 1)), []);
        let found = functions(&function(FUNCTION_LINES_MAX));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 4);
        assert!(
            found[0].message.contains("fn long has 71 lines"),
            "{}",
            found[0]
        );
    }
}
