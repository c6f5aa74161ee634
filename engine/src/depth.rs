//! How deep the text of a policy may nest.
//!
//! Cedar's parser, and what walks its trees, recurses. So a text is looked at before it is parsed, without a parser: what stands in strings and
//! comments does not count.

/// How deep brackets may nest in a policy file. Cedar's parser recurses, and overflows an 8 MiB stack between 500 and
/// 700 levels; server threads have 2 MiB.
const MAX_NESTING: usize = 100;

/// Characters of operators that one policy may have: a chain of them (`a && a && …`, `a.a.a…`) is as deep in memory as
/// it is long, and a walk through some 50,000 overflows the stack.
pub(crate) const MAX_OPERATORS: usize = 2_000;

/// Where a policy nests too deep for the parser's stack, and how: by brackets, by a run of `!` or `-`, by `if`, or by a
/// chain of operators.
pub(crate) fn too_deep(text: &str) -> Option<(usize, String)> {
    let (mut brackets, mut run, mut conditionals, mut operators) = (0_usize, 0_usize, 0_usize, 0_usize);
    let mut word = String::new();
    for (offset, character) in code(text) {
        match character {
            '(' | '[' | '{' => brackets += 1,
            ')' | ']' | '}' => brackets = brackets.saturating_sub(1),
            ';' => (conditionals, operators) = (0, 0),
            _ => {}
        }
        match character {
            '!' | '-' => run += 1,
            other if other.is_whitespace() => {}
            _ => run = 0,
        }
        operators += usize::from(".&|+-*[:=<>".contains(character));
        if character.is_alphanumeric() || character == '_' {
            word.push(character);
        } else {
            match std::mem::take(&mut word).as_str() {
                "if" => conditionals += 1,
                "when" | "unless" | "in" | "has" | "like" | "is" => operators += 1,
                _ => {}
            }
        }
        if brackets.max(run).max(conditionals) > MAX_NESTING {
            return Some((offset, format!("brackets nest more than {MAX_NESTING} deep")));
        }
        if operators > MAX_OPERATORS {
            return Some((offset, format!("a policy with more than {MAX_OPERATORS} characters of operators")));
        }
    }
    None
}

/// The characters of a policy file that stand outside strings and comments.
fn code(text: &str) -> impl Iterator<Item = (usize, char)> {
    let mut characters = text.char_indices().peekable();
    std::iter::from_fn(move || {
        loop {
            let (offset, character) = characters.next()?;
            match character {
                '"' => skip_string(&mut characters),
                '/' if characters.peek().is_some_and(|(_, next)| *next == '/') => {
                    // As for Cedar's lexer, a bare carriage return ends a comment too.
                    characters.find(|(_, inside)| matches!(inside, '\n' | '\r'));
                }
                _ => return Some((offset, character)),
            }
        }
    })
}

fn skip_string(characters: &mut impl Iterator<Item = (usize, char)>) {
    while let Some((_, character)) = characters.next() {
        match character {
            '\\' => drop(characters.next()),
            '"' => return,
            _ => {}
        }
    }
}
