//! Which `Match` lines are about a host: `all`, `host`, `originalhost`, `user` and `localuser`, as OpenSSH has them (`match_cfg_line`).
//!
//! Everything else is refused wherever it stands: `exec` runs a program, `final` and `canonical` read all files once more, and the
//! others ask what is not known here. So are quotes, backslashes and `=`, which versions of OpenSSH take apart in different ways.

use super::lines::expand;
use super::values::Found;
use super::{Asked, Reader, Spot, Unusable};
use crate::transport::ssh::patterns::fits;

/// Whether a line is about the host, by what has been read before it. `rest` is what stands behind `Match`, `words` the same taken apart.
pub(super) fn is_about(
    reader: &Reader,
    (rest, words): (&str, &[String]),
    asked: &Asked,
    found: &Found,
    spot: &Spot,
) -> Result<bool, Unusable> {
    let comment = rest.find(" #").or_else(|| rest.find("\t#")).unwrap_or(rest.len());
    if rest.get(..comment).is_some_and(|said| said.contains(['"', '\'', '\\', '='])) {
        return Err(spot.refuses("`Match` with quotes, a backslash or `=` is not followed; write plain words"));
    }
    if let [word] = words
        && word.eq_ignore_ascii_case("all")
    {
        return Ok(true);
    }
    let host = match &found.host {
        None => asked.alias.clone(),
        Some(value) => expand(value, &[('h', &asked.alias)])?,
    };
    let user = found.user.as_ref().unwrap_or(&reader.user);
    let mut is_about = true;
    let mut words = words.iter();
    while let Some(criterion) = words.next() {
        let plain = criterion.strip_prefix('!').unwrap_or(criterion);
        let fits = match plain.to_ascii_lowercase().as_str() {
            "host" => any_case(&host, argument(&mut words, plain, spot)?),
            "originalhost" => any_case(&asked.alias, argument(&mut words, plain, spot)?),
            "user" => listed(user, argument(&mut words, plain, spot)?),
            "localuser" => listed(&reader.user, argument(&mut words, plain, spot)?),
            _ => {
                return Err(spot.refuses(&format!(
                    "`Match {plain}` is not followed; say it with `host`, `originalhost`, `user`, `localuser` or `all` alone, or name \
                     another file in `config`"
                )));
            }
        };
        is_about &= fits == criterion.starts_with(plain);
    }
    Ok(is_about)
}

fn argument<'a>(words: &mut impl Iterator<Item = &'a String>, name: &str, spot: &Spot) -> Result<&'a str, Unusable> {
    words.next().map(String::as_str).ok_or_else(|| spot.refuses(&format!("`Match {name}` says nothing")))
}

/// Names of hosts are the same in either case (`match_hostname`).
fn any_case(name: &str, patterns: &str) -> bool {
    listed(&name.to_ascii_lowercase(), &patterns.to_ascii_lowercase())
}

/// One pattern of the list fits, and none with `!` does (`match_pattern_list`).
fn listed(name: &str, patterns: &str) -> bool {
    let mut found = false;
    for pattern in patterns.split(',') {
        match pattern.strip_prefix('!') {
            Some(pattern) if fits(name.as_bytes(), pattern.as_bytes()) => return false,
            Some(_) => {}
            None => found |= fits(name.as_bytes(), pattern.as_bytes()),
        }
    }
    found
}
