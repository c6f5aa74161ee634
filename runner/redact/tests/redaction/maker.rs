//! Makes tokens, passwords and lines from short descriptions, and says what of them is left.

/// Letters, digits and the like, by the name that a template gives them. The longest name comes first.
const CLASSES: [(&str, &str); 21] = [
    ("b64u.", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
    ("b64.", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"),
    ("b58.", "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"),
    ("b32.", "abcdefghijklmnopqrstuvwxyz234567"),
    ("B32.", "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"),
    ("bech.", "qpzry9x8gf2tvdw0s3jn54khce6mua7l"),
    ("BECH.", "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L"),
    ("sym", "!#%*+-.?@^_~"),
    ("low", "abcdefghijkmnopqrstuvwxyz"),
    ("an", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"),
    ("ln", "abcdefghijklmnopqrstuvwxyz0123456789"),
    ("Un", "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"),
    ("a", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"),
    ("d", "0123456789"),
    ("h", "0123456789abcdef"),
    ("H", "0123456789ABCDEF"),
    ("l", "abcdefghijklmnopqrstuvwxyz"),
    ("u", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"),
    ("U", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"),
    ("w", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"),
    ("b", "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"),
];

/// Parts of passwords as people and generators make them; letters with digits or signs, always.
const PASSWORDS: [&str; 12] = [
    "<word><d2><sym1>",
    "<Word><d4>",
    "<Word>-<word>-<d3>",
    "<word>_<word><d2>",
    "<an16>",
    "<an24>",
    "<an7><sym1><an8>",
    "<Word><sym1><d3><low3>",
    "<d2><an10>",
    "<an12><sym2>",
    "<Word>.<Word>.<d2>",
    "<h24>",
];

const WORDS: [&str; 40] = [
    "amber", "basil", "cedar", "delta", "ember", "falcon", "garnet", "harbor", "indigo", "juniper", "kestrel", "lumen",
    "maple", "nectar", "onyx", "pepper", "quartz", "raven", "saffron", "tundra", "umbra", "velvet", "willow", "xenon",
    "yarrow", "zephyr", "bronze", "cobalt", "dragon", "eagle", "forest", "granite", "hollow", "island", "jasper",
    "kernel", "lantern", "meadow", "nimbus", "orchid",
];

/// A small generator (xorshift), so that every run makes the same.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ seed.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % bound
    }

    pub(crate) fn of<'a, T: ?Sized>(&mut self, choices: &[&'a T]) -> &'a T {
        choices[self.below(choices.len())]
    }

    fn characters(&mut self, alphabet: &str, count: usize) -> String {
        (0..count).map(|_| char::from(alphabet.as_bytes()[self.below(alphabet.len())])).collect()
    }
}

/// What a template becomes: its classes filled in, its escapes undone.
pub(crate) fn made(template: &str, random: &mut Random) -> String {
    let mut text = String::new();
    let mut rest = template;
    while let Some((before, tail)) = rest.split_once('<') {
        text.push_str(before);
        let filled = tail.split_once('>').and_then(|(class, after)| Some((filled(class, random)?, after)));
        match filled {
            Some((part, after)) => {
                text.push_str(&part);
                rest = after;
            }
            None => {
                text.push('<');
                rest = tail;
            }
        }
    }
    text + rest
}

fn filled(class: &str, random: &mut Random) -> Option<String> {
    let uuid = |random: &mut Random| made("<h8>-<h4>-4<h3>-a<h3>-<h12>", random);
    Some(match class {
        "uuid" => uuid(random),
        "pw" => {
            let style = random.of(&PASSWORDS);
            made(style, random)
        }
        // one that needs no quotes anywhere
        "pq" => made("<Word>-<word>-<d3><an4>", random),
        "weak" => format!("{}{}", random.of(&WORDS), random.of(&WORDS)),
        "word" => random.of(&WORDS).to_owned(),
        "Word" => {
            let word = random.of(&WORDS);
            word[..1].to_uppercase() + &word[1..]
        }
        "pw64" => base64(made("<pw>", random).as_bytes()),
        "userpw64" => base64(made("<word>:<pw>", random).as_bytes()),
        _ => {
            let (name, alphabet) = CLASSES.iter().find(|(name, _)| class.starts_with(name))?;
            random.characters(alphabet, class[name.len()..].parse().ok()?)
        }
    })
}

pub(crate) fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// `\n` and `\t` of a table.
pub(crate) fn unescaped(text: &str) -> String {
    text.replace("\\n", "\n").replace("\\t", "\t").replace("\\\\", "\\")
}

/// A text in which the secrets stand between « and », without those, and the secrets.
pub(crate) fn marked(text: &str) -> (String, Vec<String>) {
    let secrets = text.split('«').skip(1).filter_map(|part| part.split('»').next()).map(str::to_owned).collect();
    (text.replace(['«', '»'], ""), secrets)
}

/// Whether a reader of `out` would have the secret, or a good part of it: a run of a third of its bytes, of eight at
/// least, as it stands or once colours and line breaks are taken out.
pub(crate) fn survives(secret: &str, out: &str) -> bool {
    let plain = without_dress(out);
    let length = secret.len().min((secret.len() / 3).max(8));
    secret.as_bytes().windows(length).any(|part| contains(out.as_bytes(), part) || contains(plain.as_bytes(), part))
}

pub(crate) fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn without_dress(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some((before, tail)) = rest.split_once('\u{1b}') {
        plain.push_str(before);
        rest = match tail.as_bytes().first() {
            Some(b'[') => tail[1..].split_once(|c: char| ('@'..='~').contains(&c)).map_or("", |(_, after)| after),
            _ => tail,
        };
    }
    (plain + rest).replace(['\n', '\r', '\0', '\u{200b}'], "")
}
