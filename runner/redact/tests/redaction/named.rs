//! Values that only their names give away, in every syntax that has names and values.

use super::maker::{Random, made, unescaped};
use super::{Score, lines};

/// Words of a name, and what its values look like.
const NAMES: [(&str, &[&str]); 62] = [
    ("password", &["<pw>"]),
    ("passwd", &["<pw>"]),
    ("db password", &["<pw>"]),
    ("database password", &["<pw>"]),
    ("postgres password", &["<pw>"]),
    ("mysql root password", &["<pw>"]),
    ("redis password", &["<pw>"]),
    ("admin password", &["<pw>"]),
    ("smtp password", &["<pw>"]),
    ("ldap bind password", &["<pw>"]),
    ("keystore password", &["<pw>"]),
    ("master password", &["<pw>"]),
    ("user password", &["<pw>"]),
    ("db pass", &["<pw>"]),
    ("mail pass", &["<pw>"]),
    ("ftp pass", &["<pw>"]),
    ("passphrase", &["<pw>", "<weak>-<d4>"]),
    ("ssh passphrase", &["<pw>"]),
    ("api key", &["<an32>", "<h32>", "<u40>", "<uuid>"]),
    ("service api key", &["<an32>", "<h40>"]),
    ("x api key", &["<an40>"]),
    ("secret", &["<an32>", "<h64>", "<pw>"]),
    ("secret key", &["<an40>", "<b64.44>", "<h64>"]),
    ("secret key base", &["<h128>"]),
    ("client secret", &["<u32>", "<an40>", "<uuid>"]),
    ("app secret", &["<h32>"]),
    ("webhook secret", &["<an32>", "<h40>"]),
    ("jwt secret", &["<pw>", "<an48>", "<h64>"]),
    ("session secret", &["<h64>", "<an32>"]),
    ("cookie secret", &["<h32>"]),
    ("signing secret", &["<h32>"]),
    ("signing key", &["<b64.43>=", "<h64>"]),
    ("encryption key", &["<b64.43>=", "<h64>"]),
    ("private key", &["<h64>", "<b64.43>="]),
    ("access key", &["<an20>", "<an40>"]),
    ("access token", &["<u40>", "<an64>", "<h40>"]),
    ("refresh token", &["<u60>"]),
    ("auth token", &["<h32>", "<an36>"]),
    ("token", &["<an32>", "<h40>", "<u60>"]),
    ("bot token", &["<an40>"]),
    ("deploy token", &["<an20>"]),
    ("api token", &["<an40>", "<h40>"]),
    ("registry token", &["<u40>"]),
    ("session token", &["<u80>"]),
    ("id token", &["<u90>"]),
    ("bearer token", &["<u48>"]),
    ("storage account key", &["<b64.86>=="]),
    ("aws secret access key", &["<b64.40>"]),
    ("datadog api key", &["<h32>"]),
    ("twilio auth token", &["<h32>"]),
    ("algolia admin key", &["<h32>"]),
    ("mailgun api key", &["<h32>-<h8>-<h8>"]),
    ("heroku api key", &["<uuid>"]),
    ("cloudflare api token", &["<u40>"]),
    ("hetzner token", &["<an64>"]),
    ("pusher secret", &["<h20>"]),
    ("segment write key", &["<an32>"]),
    ("consumer secret", &["<an50>"]),
    ("credentials", &["<an24>"]),
    ("shared secret", &["<an32>"]),
    ("encryption passphrase", &["<pw>"]),
    ("license key", &["<Un5>-<Un5>-<Un5>-<Un5>"]),
];

#[test]
fn values_behind_names() {
    let syntaxes: Vec<(&str, &str)> =
        lines(include_str!("syntaxes.txt")).filter_map(|line| line.split_once(' ')).collect();
    let mut random = Random::new(2);
    let mut score = Score::default();
    for (words, values) in NAMES {
        for &(style, syntax) in &syntaxes {
            let value = random.of(values);
            let value = made(value, &mut random);
            let name = joined(words, style);
            let line = unescaped(syntax).replace("VALUE", &format!("«{value}»")).replace("NAME", &name);
            score.ask(syntax, &format!("{line}\n"));
        }
    }
    score.expect("values behind names", 90.0);
}

fn joined(words: &str, style: &str) -> String {
    let words = words.split(' ');
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    match style {
        "U" => words.collect::<Vec<_>>().join("_").to_uppercase(),
        "k" => words.collect::<Vec<_>>().join("-"),
        "d" => words.collect::<Vec<_>>().join("."),
        "P" => words.map(capital).collect(),
        "c" => words.enumerate().map(|(at, word)| if at == 0 { word.to_owned() } else { capital(word) }).collect(),
        _ => words.collect::<Vec<_>>().join("_"),
    }
}
