//! Brace expansion of plain words: `{a,b}` and `{1..3}`.
//!
//! This file decides which words become a list that is known in full. A word with quotes, expansions or a brace that is
//! neither a list nor a sequence is left alone.

/// Words that one may become and still be followed.
const MAX_WORDS: usize = 64;

/// What bash makes of a word as it is written; `None` if that is not certain.
pub(crate) fn expanded(raw: &str) -> Option<Vec<String>> {
    // Bash leaves the value of an assignment alone, and no name begins so.
    let is_option = raw.starts_with('-');
    let plain =
        |byte: u8| byte.is_ascii_alphanumeric() || b"_./,{}:@%+-*?".contains(&byte) || is_option && byte == b'=';
    if !raw.bytes().all(plain) {
        return None;
    }
    let words = expand(raw, 0)?;
    let all = words.iter().all(|word| !word.is_empty() && !word.contains(['{', '}', ',']));
    all.then_some(words)
}

fn expand(text: &str, depth: usize) -> Option<Vec<String>> {
    if depth > 8 {
        return None;
    }
    let Some((before, rest)) = text.split_once('{') else { return Some(vec![text.to_owned()]) };
    if before.contains(['}', ',']) && depth == 0 {
        return None;
    }
    let (inside, after) = matching(rest)?;
    let choices = match alternatives(inside) {
        parts if parts.len() > 1 => {
            let mut choices = Vec::new();
            for part in parts {
                choices.extend(expand(part, depth + 1)?);
            }
            choices
        }
        _ => sequence(inside)?,
    };
    let behind = expand(after, depth + 1)?;
    if choices.len() * behind.len() > MAX_WORDS {
        return None;
    }
    let joined = choices.iter().flat_map(|choice| behind.iter().map(move |end| format!("{before}{choice}{end}")));
    Some(joined.collect())
}

/// The text up to the brace that closes the one before it, and what stands behind.
fn matching(text: &str) -> Option<(&str, &str)> {
    let mut open = 0;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' if open == 0 => return Some((text.get(..at)?, text.get(at + 1..)?)),
            b'}' => open -= 1,
            _ => {}
        }
    }
    None
}

/// The parts between commas that stand in no further braces.
fn alternatives(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut open) = (Vec::new(), 0, 0);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            b'{' => open += 1,
            b'}' => open -= 1,
            b',' if open == 0 => {
                parts.extend(text.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.extend(text.get(start..));
    parts
}

/// `1..3`, in whole numbers without leading zeros.
fn sequence(text: &str) -> Option<Vec<String>> {
    let (from, to) = text.split_once("..")?;
    let number = |text: &str| {
        let plain = text == "0" || !text.starts_with('0') && !text.starts_with("-0");
        text.parse::<i32>().ok().filter(|_| plain && !text.starts_with('+'))
    };
    let (from, to) = (number(from)?, number(to)?);
    if usize::try_from(from.abs_diff(to)).ok()? >= MAX_WORDS {
        return None;
    }
    let numbers: Vec<i32> = if from <= to { (from..=to).collect() } else { (to..=from).rev().collect() };
    Some(numbers.iter().map(i32::to_string).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words() {
        for (raw, expected) in [
            ("{a,b}", Some("a b")),
            ("x{a,b}y", Some("xay xby")),
            ("{a,b}/{c,d}", Some("a/c a/d b/c b/d")),
            ("f{1..3}.txt", Some("f1.txt f2.txt f3.txt")),
            ("{3..1}", Some("3 2 1")),
            ("{a,b{c,d}}", Some("a bc bd")),
            ("a{,.bak}", Some("a a.bak")),
            ("{-1..1}", Some("-1 0 1")),
            ("--include=*.{py,js}", Some("--include=*.py --include=*.js")),
            ("-{a,b=}c", Some("-ac -b=c")),
            ("x={a,b}", None),
            ("{-x=,y}", None),
            ("{,a}", None),
            ("{a}", None),
            ("{a..c}", None),
            ("{01..3}", None),
            ("{a,b", None),
            ("a}{b,c}", None),
            ("{a,b}{c", None),
            ("{1..1000}", None),
            ("'{a,b}'", None),
            ("$x{a,b}", None),
            ("~/{a,b}", None),
        ] {
            assert_eq!(expanded(raw).map(|words| words.join(" ")).as_deref(), expected, "{raw}");
        }
    }
}
