//! How a line of OpenSSH's configuration is taken apart: keywords, words, patterns, hosts on the way, tokens.

use super::{Jump, Spot, Unusable, Value};
use crate::transport::ssh::patterns::fits;

/// Hosts that may stand on the way to one.
const MAX_JUMPS: usize = 32;

/// The keyword of a line in lower case, and what stands behind it; none for a line that says nothing.
pub(super) fn split(line: &str) -> Result<Option<(String, &str)>, &'static str> {
    const BLANKS: [char; 3] = [' ', '\t', '\r'];
    let line = line.trim_end_matches([' ', '\t', '\r', '\u{c}']).trim_start_matches(BLANKS);
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let end = line.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(line.len());
    let (keyword, rest) = line.split_at(end);
    let behind = rest.trim_start_matches(BLANKS);
    // One may stand between, with blanks about it.
    let value = behind.strip_prefix('=').map_or(behind, |value| value.trim_start_matches(BLANKS));
    if keyword.is_empty() || rest.len() == value.len() && !rest.is_empty() {
        return Err("begins with no keyword");
    }
    Ok(Some((keyword.to_ascii_lowercase(), value)))
}

/// The words of a line, as OpenSSH takes them apart (`argv_split`): quotes of both kinds, a backslash before a quote, a backslash or a
/// blank, and a comment where a word would begin. None if a quote does not end.
pub(super) fn words(text: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut rest = text.chars().peekable();
    loop {
        while rest.next_if(|letter| matches!(letter, ' ' | '\t')).is_some() {}
        if rest.peek().is_none_or(|letter| *letter == '#') {
            return Some(words);
        }
        let (mut word, mut quote) = (String::new(), None);
        while let Some(letter) = rest.next_if(|letter| quote.is_some() || !matches!(letter, ' ' | '\t')) {
            match letter {
                '\\' => {
                    let escaped = |next: &char| matches!(next, '\'' | '"' | '\\') || quote.is_none() && *next == ' ';
                    word.push(rest.next_if(escaped).unwrap_or('\\'));
                }
                '"' | '\'' if quote.is_none() => quote = Some(letter),
                letter if quote == Some(letter) => quote = None,
                letter => word.push(letter),
            }
        }
        if quote.is_some() {
            return None;
        }
        words.push(word);
    }
}

/// Whether a `Host` line is about a name: one pattern fits, and none with `!` does.
pub(super) fn is_about(patterns: &[String], alias: &str, spot: &Spot) -> Result<bool, Unusable> {
    let mut is_about = false;
    for pattern in patterns {
        if pattern.is_empty() {
            return Err(spot.refuses("`Host` has an empty pattern"));
        }
        match pattern.strip_prefix('!') {
            Some(pattern) if fits(alias.as_bytes(), pattern.as_bytes()) => return Ok(false),
            Some(_) => {}
            None => is_about |= fits(alias.as_bytes(), pattern.as_bytes()),
        }
    }
    Ok(is_about)
}

/// `[USER@]HOST[:PORT]`, with commas between; nothing for `none`.
pub(super) fn jumps(text: &str) -> Option<Vec<Jump>> {
    let text = text.trim_start_matches(['=', ' ', '\t']);
    let text = text.split('#').next().unwrap_or_default().trim_end_matches([' ', '\t', '\r', '\n']);
    if text.eq_ignore_ascii_case("none") {
        return Some(Vec::new());
    }
    let jumps: Option<Vec<Jump>> = text.split(',').map(Jump::parse).collect();
    jumps.filter(|jumps| jumps.len() <= MAX_JUMPS)
}

impl Jump {
    /// `[USER@]HOST[:PORT]`.
    pub fn parse(text: &str) -> Option<Self> {
        let (user, place) = match text.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, text),
        };
        let (alias, port) = match place.strip_prefix('[') {
            Some(rest) => {
                let (alias, behind) = rest.split_once(']')?;
                (alias, if behind.is_empty() { None } else { Some(behind.strip_prefix(':')?) })
            }
            None => match place.split_once(':') {
                Some((alias, port)) => (alias, Some(port)),
                None => (place, None),
            },
        };
        let digits = |port: &&str| port.bytes().all(|byte| byte.is_ascii_digit());
        let port = match port {
            Some("") | None => None,
            Some(port) => Some(Some(port).filter(digits)?.parse().ok().filter(|port: &u16| *port > 0)?),
        };
        let plain = |text: &str| is_word(text) && !text.contains(['/', '"', '\'', '\\', '$']);
        let is_plain = plain(alias) && user.is_none_or(|user| plain(user) && !user.contains('%'));
        is_plain.then(|| Self { alias: alias.to_owned(), user: user.map(str::to_owned), port })
    }
}

pub(super) fn is_word(text: &str) -> bool {
    let odd = |letter: char| letter.is_whitespace() || letter.is_control();
    !text.is_empty() && !text.starts_with('-') && !text.contains(odd)
}

/// A value with its tokens replaced; any other token is an error, and so is a variable.
pub(super) fn expand(value: &Value, tokens: &[(char, &str)]) -> Result<String, Unusable> {
    let mut text = String::new();
    let mut rest = value.text.chars();
    if value.text.contains("${") {
        return Err(value.spot.refuses(&format!("`{}`: variables are not expanded here", value.text)));
    }
    while let Some(letter) = rest.next() {
        if letter != '%' {
            text.push(letter);
            continue;
        }
        let token = rest.next();
        match tokens.iter().find(|(name, _)| Some(*name) == token) {
            Some((_, meaning)) => text.push_str(meaning),
            None if token == Some('%') => text.push('%'),
            None => {
                let token = token.map(String::from).unwrap_or_default();
                return Err(value.spot.refuses(&format!("`{}`: `%{token}` is not expanded here", value.text)));
            }
        }
    }
    Ok(text)
}
