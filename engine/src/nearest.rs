//! Names that are close to a misspelt one, for messages.
//!
//! Decides nothing: whether a name is wrong, its caller knows.

/// `; did you mean …`, if one of the names is close.
pub(crate) fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> String {
    nearest_name(name, names).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default()
}

/// The one of these names that is nearest to a misspelt one, if one is close.
pub fn nearest_name<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    let (distance, near) = names.map(|other| (distance(name, other), other)).min()?;
    (distance > 0 && distance <= 2 && distance * 2 < name.chars().count()).then_some(near)
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (index, from) in a.chars().enumerate() {
        let mut diagonal = index;
        let mut left = index + 1;
        let mut next = vec![left];
        for (to, above) in b.chars().zip(row.iter().skip(1)) {
            left = (diagonal + usize::from(from != to)).min(left + 1).min(above + 1);
            diagonal = *above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}
