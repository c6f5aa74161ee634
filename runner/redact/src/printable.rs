//! Which characters of an agent's text a person is shown as they are: none that moves a cursor, sets a colour, or turns or hides what
//! stands beside it.

/// Whether a character stands for itself alone. Control codes and line ends do not.
#[must_use]
pub fn is_plain(character: char) -> bool {
    !character.is_control() && !is_invisible(character)
}

/// One line that is safe at a terminal: U+FFFD in the place of every other character.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|character| if is_plain(character) { character } else { char::REPLACEMENT_CHARACTER }).collect()
}

/// Characters that change the direction of text or have no width, Unicode's format characters as far as they can deceive; and letters
/// that are blank.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
            | '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}'
    )
}

#[cfg(test)]
mod tests {
    use super::printable;

    #[test]
    fn what_moves_turns_or_hides_is_replaced() {
        assert_eq!(printable("caf\u{e9} \u{1f600} \u{4f60}"), "caf\u{e9} \u{1f600} \u{4f60}");
        for character in
            ['\n', '\r', '\u{1b}', '\u{9b}', '\u{7f}', '\u{202e}', '\u{200b}', '\u{e0041}', '\u{3164}', '\u{2800}']
        {
            assert_eq!(printable(&format!("a{character}b")), "a\u{fffd}b", "{character:?}");
        }
    }
}
