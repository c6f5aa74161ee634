//! Cuts a failing script down to what still fails.

/// Rounds of cutting: a script that is not small by then is told as it is.
const ROUNDS: usize = 40;

/// The smallest script found for which `fails` still holds. It is asked about many at a time.
pub(crate) fn shrink(script: &str, fails: impl Fn(&[String]) -> Vec<bool>) -> String {
    let mut best = pieces(script);
    let mut length = best.len().div_ceil(2);
    for _ in 0..ROUNDS {
        let candidates: Vec<Vec<String>> =
            (0..best.len()).step_by(length.div_ceil(2).max(1)).map(|at| without(&best, at, length)).collect();
        let texts: Vec<String> = candidates.iter().map(|pieces| pieces.concat()).collect();
        let smaller = fails(&texts).iter().position(|fails| *fails);
        match smaller.and_then(|index| candidates.into_iter().nth(index)) {
            Some(pieces) => best = pieces,
            None if length > 1 => length = length.div_ceil(2),
            None => break,
        }
        length = length.min(best.len()).max(1);
    }
    best.concat()
}

fn without(pieces: &[String], at: usize, length: usize) -> Vec<String> {
    pieces
        .iter()
        .enumerate()
        .filter(|(index, _)| !(at..at + length).contains(index))
        .map(|(_, piece)| piece.clone())
        .collect()
}

/// Words and single characters: what can be left out by itself.
fn pieces(script: &str) -> Vec<String> {
    let mut pieces: Vec<String> = Vec::new();
    let mut in_word = false;
    for letter in script.chars() {
        let word = letter.is_alphanumeric();
        match pieces.last_mut() {
            Some(last) if word && in_word => last.push(letter),
            _ => pieces.push(letter.to_string()),
        }
        in_word = word;
    }
    pieces
}
