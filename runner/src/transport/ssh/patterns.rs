//! Whether a name fits a pattern, as OpenSSH's `match_pattern` has it.

/// Whether a name fits a pattern of plain bytes, `*` and `?`. Takes no longer than the product of their lengths.
pub(super) fn fits(name: &[u8], pattern: &[u8]) -> bool {
    let (mut at, mut place) = (0, 0);
    // Where the last star stands, and up to where of the name it reaches.
    let mut star: Option<(usize, usize)> = None;
    while at < name.len() {
        match pattern.get(place) {
            Some(b'*') => {
                star = Some((place, at));
                place += 1;
            }
            Some(byte) if *byte == b'?' || name.get(at) == Some(byte) => (at, place) = (at + 1, place + 1),
            _ => match &mut star {
                Some((behind, reached)) => {
                    *reached += 1;
                    (at, place) = (*reached, *behind + 1);
                }
                None => return false,
            },
        }
    }
    pattern.get(place..).is_some_and(|rest| rest.iter().all(|byte| *byte == b'*'))
}
