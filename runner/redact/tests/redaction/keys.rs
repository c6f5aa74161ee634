//! Private keys of every kind, whole and as other programs print them: not a line of key material may be left.

use super::maker::{Random, base64, made, survives};
use super::{REDACTOR, Score};

/// How a key begins and ends, and what its lines are.
const KINDS: [(&str, &str, &str); 17] = [
    ("-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----", ""),
    ("-----BEGIN EC PRIVATE KEY-----", "-----END EC PRIVATE KEY-----", ""),
    ("-----BEGIN DSA PRIVATE KEY-----", "-----END DSA PRIVATE KEY-----", ""),
    ("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", ""),
    ("-----BEGIN ENCRYPTED PRIVATE KEY-----", "-----END ENCRYPTED PRIVATE KEY-----", ""),
    ("-----BEGIN OPENSSH PRIVATE KEY-----", "-----END OPENSSH PRIVATE KEY-----", ""),
    ("-----BEGIN ANY PRIVATE KEY-----", "-----END ANY PRIVATE KEY-----", ""),
    ("-----BEGIN ED25519 PRIVATE KEY-----", "-----END ED25519 PRIVATE KEY-----", ""),
    (
        "-----BEGIN RSA PRIVATE KEY-----",
        "-----END RSA PRIVATE KEY-----",
        "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123456789ABCDEF0123456789ABCDEF\n\n",
    ),
    ("-----BEGIN PGP PRIVATE KEY BLOCK-----", "-----END PGP PRIVATE KEY BLOCK-----", "Version: GnuPG v2\n\n"),
    ("-----BEGIN PGP PRIVATE KEY BLOCK-----", "-----END PGP PRIVATE KEY BLOCK-----", "\n"),
    ("---- BEGIN SSH2 ENCRYPTED PRIVATE KEY ----", "---- END SSH2 ENCRYPTED PRIVATE KEY ----", "Comment: \"a key\"\n"),
    ("-----BEGIN SSH2 PRIVATE KEY-----", "-----END SSH2 PRIVATE KEY-----", ""),
    ("-----BEGIN TSS2 PRIVATE KEY-----", "-----END TSS2 PRIVATE KEY-----", ""),
    ("-----BEGIN ENCRYPTED COSIGN PRIVATE KEY-----", "-----END ENCRYPTED COSIGN PRIVATE KEY-----", ""),
    ("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----", "-----END ENCRYPTED SIGSTORE PRIVATE KEY-----", ""),
    (
        "PuTTY-User-Key-File-3: ssh-ed25519\nEncryption: none\nComment: a\nPublic-Lines: 2\nAAAAC3NzaC1lZDI1NTE5AAAAIexample\nAAAA\nPrivate-Lines: 14",
        "Private-MAC: 0123456789abcdef0123456789abcdef01234567",
        "",
    ),
];

#[test]
fn key_blocks() {
    let mut random = Random::new(4);
    let mut score = Score::default();
    for (begin, end, header) in KINDS {
        for count in [3, 5, 13, 25, 50] {
            let lines: Vec<String> = (0..count)
                .map(|at| made(if at + 1 == count { "<b64.38>==" } else { "<b64.64>" }, &mut random))
                .collect();
            let whole = format!("{begin}\n{header}{}\n{end}\n", lines.join("\n"));
            for (how, text) in dressed(&whole) {
                let out = REDACTOR.text(&text);
                // In Base64 again, a line is no longer to be seen; what is left of the whole says it.
                let left = match how {
                    "base64" => out.len() > text.len() / 2,
                    _ => lines.iter().any(|line| survives(line, out.as_str())),
                };
                score.note(&format!("{how}: {begin}"), !left, || format!("{text:?} -> {:?}", out.as_str()));
            }
        }
        one_line_keys(&mut score, &mut random);
        keys_without_markers(&mut score, &mut random);
    }
    score.expect("key blocks", 100.0);
}

/// A key as it is, and as programs print it.
fn dressed(whole: &str) -> Vec<(&'static str, String)> {
    let body = whole.trim_end();
    let lines: Vec<&str> = body.lines().collect();
    let each = |dress: &dyn Fn(usize, &str) -> String| -> String {
        lines.iter().enumerate().map(|(at, line)| dress(at, line) + "\n").collect()
    };
    vec![
        ("as it is", format!("$ cat key\n{whole}$ ls\n")),
        ("with carriage returns", whole.replace('\n', "\r\n")),
        ("in YAML", format!("tls:\n  key: |\n{}  port: 1\n", each(&|_, line| format!("    {line}")))),
        ("in JSON", format!("{{\"key\": \"{}\", \"port\": 1}}\n", body.replace('\n', "\\n") + "\\n")),
        ("in JSON twice", format!("{{\"a\": \"{{\\\"key\\\": \\\"{}\\\"}}\"}}\n", body.replace('\n', "\\\\n"))),
        ("in JSON with \\r\\n", format!("{{\"key\":\"{}\"}}\n", body.replace('\n', "\\r\\n"))),
        ("in .env", format!("KEY=\"{}\"\nPORT=1\n", body.replace('\n', "\\n"))),
        ("in .env over lines", format!("KEY=\"{body}\"\nPORT=1\n")),
        ("in source", format!("{};\n", each(&|_, line| format!("    \"{line}\\n\" +")))),
        ("in a Python list", each(&|_, line| format!("    '{line}',"))),
        ("by grep -n", each(&|at, line| format!("{}:{line}", at + 1))),
        ("by grep -rn", each(&|at, line| format!("conf/key.pem:{}:{line}", at + 1))),
        ("by cat -n", each(&|at, line| format!("{:>6}\t{line}", at + 1))),
        ("by diff", each(&|_, line| format!("+{line}"))),
        ("by git log -p", each(&|_, line| format!("-{line}"))),
        ("by docker logs", each(&|_, line| format!("2026-01-02T03:04:05.678901234Z {line}"))),
        ("by docker compose", each(&|_, line| format!("web-1  | {line}"))),
        ("by kubectl logs", each(&|_, line| format!("[pod/web-1/app] {line}"))),
        ("by journalctl", each(&|_, line| format!("Jan 02 03:04:05 host app[123]: {line}"))),
        ("quoted in mail", each(&|_, line| format!("> {line}"))),
        ("in a comment", each(&|_, line| format!("# {line}"))),
        ("in colour", each(&|_, line| format!("\u{1b}[32m{line}\u{1b}[0m"))),
        ("in XML", format!("<key>{body}</key>\n")),
        ("folded", format!("key: {}\n", body.replace('\n', " "))),
        ("with blanks at the end", each(&|_, line| format!("{line}  "))),
        ("cut short", lines[..lines.len() - 1].join("\n") + "\n"),
        ("cut in a line", body[..body.len() - end_of(&lines) - 20].to_owned()),
        (
            "among other lines",
            each(&|at, line| if at == 2 { format!("[info] working\n{line}") } else { line.to_owned() }),
        ),
        ("base64", format!("  tls.key: {}\n", base64(whole.as_bytes()))),
    ]
}

fn end_of(lines: &[&str]) -> usize {
    lines.last().map_or(0, |line| line.len())
}

/// Keys without their first line, in Base64 that is wrapped, and as the numbers that they are made of.
fn keys_without_markers(score: &mut Score, random: &mut Random) {
    for head in ["MIIEvQIBADANBgkqhkiG9w0BAQ", "MIIEpAIBAAKCAQEA", "MHcCAQEEI"] {
        let first = made(&format!("{head}<b64.{}>", 64 - head.len()), random);
        let mut lines = vec![first];
        lines.extend((0..6).map(|_| made("<b64.64>", random)));
        lines.push(made("<b64.38>==", random));
        for (how, before) in [("bare", ""), ("bare, by grep -n", "conf/key:7:"), ("bare, in YAML", "    ")] {
            let text: String = lines.iter().map(|line| format!("{before}{line}\n")).collect();
            let out = REDACTOR.text(&format!("$ sed 1d key\n{text}$ ls\nsrc\n"));
            let left = lines.iter().any(|line| survives(line, out.as_str())) || !out.as_str().ends_with("$ ls\nsrc\n");
            score.note(how, !left, || format!("{text:?} -> {:?}", out.as_str()));
        }
        let whole = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", lines.join("\n"));
        let encoded = base64(whole.as_bytes());
        let wrapped: Vec<&str> =
            (0..encoded.len()).step_by(76).map(|at| &encoded[at..encoded.len().min(at + 76)]).collect();
        let out = REDACTOR.text(&format!("$ base64 key\n{}\n$ ls\n", wrapped.join("\n")));
        let left = wrapped.iter().skip(1).any(|line| survives(line, out.as_str()));
        score.note("base64 with wrapping", !left, || out.to_string());
    }
    let number = |random: &mut Random| -> Vec<String> {
        let pairs = |count: usize, random: &mut Random| made(&"<h2>:".repeat(count), random);
        vec![pairs(15, random), pairs(15, random), pairs(7, random).trim_end_matches(':').to_owned()]
    };
    let names = ["privateExponent", "prime1", "prime2", "exponent1", "exponent2", "coefficient"];
    let numbers: Vec<Vec<String>> = names.iter().map(|_| number(random)).collect();
    let parts = names.iter().zip(&numbers).map(|(name, lines)| format!("{name}:\n    {}\n", lines.join("\n    ")));
    let out =
        REDACTOR.text(&format!("publicExponent: 65537 (0x10001)\n{}writing RSA key\n", parts.collect::<String>()));
    let left = numbers.iter().flatten().any(|line| survives(line, out.as_str()));
    score.note("openssl rsa -text", !left, || out.to_string());
}

/// Keys that are one line.
fn one_line_keys(score: &mut Score, random: &mut Random) {
    for template in [
        "«AGE-SECRET-KEY-1<BECH.58>»",
        "# public key: age1<bech.58>\n«AGE-SECRET-KEY-1<BECH.58>»",
        "[Interface]\nPrivateKey = «<b64.42>E=»\nAddress = 10.0.0.2/32",
        "peer: x\n  preshared key: «<b64.42>A=»",
        "{\"kty\":\"RSA\",\"n\":\"<u342>\",\"e\":\"AQAB\",\"d\":\"«<u342>»\"}",
        "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"<u43>\",\"d\":\"«<u43>»\"}",
        "{\"kty\":\"oct\",\"k\":\"«<u43>»\"}",
        "untrusted comment: minisign encrypted secret key\n«RWRTY0Iy<b64.200>=»",
        "untrusted comment: signify secret key\n«RWRCSwAAAA<b64.130>»",
    ] {
        score.ask(template, &format!("{}\n", made(template, random)));
    }
}
