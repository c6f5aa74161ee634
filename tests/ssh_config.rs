//! OpenSSH's configuration, read beside OpenSSH's own client: the same files, the same names, the same answers.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use palisade_runner::transport::ssh::config::{Alias, Asked, Reader};

use crate::support::services::{has_program, run, stdout_of};

/// Files that are made up, besides those that somebody wrote.
const MADE_UP: u64 = 250;

/// What stands behind `Host`.
const HOSTS: [&str; 16] = [
    "web",
    "w*",
    "*",
    "!web",
    "other",
    "* !web",
    "web,other",
    "w?b",
    "WEB",
    "\"web\"",
    "'w*'",
    "other web",
    "!other *",
    "web # no",
    "=web",
    "other\t \tweb  ",
];

/// What stands behind `Match`.
const MATCHES: [&str; 16] = [
    "all",
    "host web",
    "host w*,!web2",
    "host h1,h2",
    "host *.example.com",
    "host WEB",
    "!host web",
    "originalhost web",
    "originalhost o*",
    "!originalhost web user *",
    "user deploy",
    "user *,!bob",
    "localuser *",
    "host web user deploy",
    "host 10.0.0.?,web # there",
    "all all",
];

/// Lines about values, most of which are right.
const LINES: [&str; 51] = [
    "HostName h1",
    "HostName %h.example.com",
    "HostName \"h2\"",
    "hostname=H3.Example.COM",
    "HostName 10.0.0.1",
    "HostName h%%4",
    "HostName a b",
    "User deploy",
    "User \"deploy\"",
    "User 'a'",
    "USER = bob",
    "User",
    "User \"a",
    "Port 22",
    "Port 2222",
    "Port = 23",
    "Port \"24\"",
    "Port 0",
    "Port 70000",
    "Port x",
    "IdentityFile /k/a",
    "IdentityFile ~/.ssh/id_x",
    "IdentityFile \"/k/b c\"",
    "IdentityFile /k/d\\ e",
    "IdentityFile none",
    "CertificateFile /k/c",
    "CertificateFile ~/c",
    "IdentitiesOnly yes",
    "IdentitiesOnly no",
    "IdentitiesOnly x",
    "UserKnownHostsFile /h/a",
    "UserKnownHostsFile /h/a /h/b",
    "UserKnownHostsFile ~/kh_%n_%h_%p_%r_%%",
    "GlobalKnownHostsFile /g/a \"/g/b\"",
    "ProxyJump a",
    "ProxyJump a,b",
    "ProxyJump u@a:23,v@b",
    "ProxyJump none",
    "ProxyJump [::1]:22",
    "ProxyJump a # c",
    "ProxyCommand none",
    "HostKeyAlias key",
    "HostKeyAlias Key.Example",
    "hostkeyalias \"k\"",
    "Compression yes",
    "SendEnv LANG LC_*",
    "StrictHostKeyChecking no",
    "IgnoreUnknown UseK*",
    "UseKeychain yes",
    "  # a comment",
    "",
];

/// What is seldom, and either means nothing or is an error to both.
const ODD: [&str; 6] = ["Match all", "Nonsense 1", "=x", "Include /nowhere/*", "Host", "ForwardAgent no"];

#[test]
fn openssh_says_the_same_of_a_file() {
    if has_program("ssh").is_none() {
        return;
    }
    let place = tempfile::tempdir().expect("a directory");
    let mut files = vec![
        "Host web\n  HostName web.example.com\n  User deploy\n\nHost *\n  User nobody\n  IdentityFile ~/.ssh/site\n"
            .to_owned(),
        "Host *.example.com\n  Port 1\nHost web\n  HostName x.example.com\n".to_owned(),
        "# only a comment".to_owned(),
        String::new(),
        "Port 7\r\nHost web\r\n  User a\r\n".to_owned(),
        "Include inner\nPort 9\n".to_owned(),
    ];
    let mut dice = 0x9e37_79b9_7f4a_7c15_u64;
    let mut throw = |sides: usize| {
        // xorshift: the same files each time.
        dice ^= dice << 13;
        dice ^= dice >> 7;
        dice ^= dice << 17;
        usize::try_from(dice % u64::try_from(sides).expect("a size")).expect("a size")
    };
    for _ in 0..MADE_UP {
        let mut text = String::new();
        for _ in 0..throw(5) + 1 {
            if throw(4) > 0 {
                match throw(3) {
                    0 => text.push_str(&format!("Match {}\n", MATCHES[throw(MATCHES.len())])),
                    _ => text.push_str(&format!("Host {}\n", HOSTS[throw(HOSTS.len())])),
                }
            }
            for _ in 0..throw(5) {
                let line = if throw(40) == 0 { ODD[throw(ODD.len())] } else { LINES[throw(LINES.len())] };
                text.push_str(&format!("{}{line}\n", [" ", "\t", ""][throw(3)]));
            }
        }
        files.push(text);
    }
    let (mut right, home, user) = (0, account("6"), account("1"));
    for text in &files {
        let file = place.path().join("config");
        fs::write(&file, text).expect("a file");
        let reader = Reader { home: home.clone().into(), user: user.clone(), file: Some(file.clone()) };
        for name in ["web", "other"] {
            let ours = reader.read(&Asked { alias: name.to_owned(), ..Asked::default() });
            let output = run(Command::new("ssh").args(["-G", "-F"]).arg(&file).arg(name));
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            match (&ours, output.status.success()) {
                (Ok(ours), true) => {
                    right += 1;
                    same(ours, &theirs(&output.stdout, &home), &format!("{name} in {text:?}"));
                }
                (Err(_), false) => {}
                // What is stricter here.
                (Err(why), true) if stricter(&why.to_string()) => {}
                _ => panic!("{name} in {text:?}: here {ours:?}, to OpenSSH {:?} {told}", output.status.code()),
            }
        }
    }
    assert!(right > 150, "{right} files were read by both");
}

/// Words of refusals that are this program's own.
fn stricter(why: &str) -> bool {
    ["is no absolute path", "is no plain name", "begins with no keyword"].iter().any(|word| why.contains(word))
}

fn account(field: &str) -> String {
    let script = format!("getent passwd \"$(id -u)\" | cut -d: -f{field}");
    stdout_of(Command::new("sh").args(["-c", &script])).trim().to_owned()
}

fn theirs(output: &[u8], home: &str) -> BTreeMap<String, Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in String::from_utf8_lossy(output).lines() {
        let Some((key, value)) = line.split_once(' ') else { continue };
        let value = value.strip_prefix("~/").map_or_else(|| value.to_owned(), |rest| format!("{home}/{rest}"));
        found.entry(key.to_owned()).or_default().push(value);
    }
    found
}

fn same(ours: &Alias, theirs: &BTreeMap<String, Vec<String>>, what: &str) {
    let none = Vec::new();
    let all = |key: &str| theirs.get(key).unwrap_or(&none);
    let shown = |path: &PathBuf| path.display().to_string();
    let files = |paths: &[PathBuf]| paths.iter().map(shown).collect::<Vec<_>>();
    let named = |list: &[String]| -> Vec<String> { list.iter().filter(|name| *name != "none").cloned().collect() };
    assert_eq!(std::slice::from_ref(&ours.host), all("hostname").as_slice(), "the host of {what}");
    assert_eq!([ours.port.to_string()], all("port").as_slice(), "the port of {what}");
    assert_eq!(std::slice::from_ref(&ours.user), all("user").as_slice(), "the user of {what}");
    let key = all("hostkeyalias").first().map(|name| name.to_ascii_lowercase());
    assert_eq!(ours.host_key_alias, key, "by which its key is looked up, of {what}");
    let only = if ours.identities_only { "yes" } else { "no" };
    assert_eq!([only.to_owned()], all("identitiesonly").as_slice(), "{what}");
    let keys = all("identityfile");
    // Of the usual ones, those of kinds that can be used here.
    if keys.iter().any(|key| key.ends_with("/.ssh/id_ecdsa_sk")) {
        assert!(files(&ours.identities).iter().all(|key| keys.contains(key)) && ours.identities.len() == 3, "{what}");
    } else {
        assert_eq!(files(&ours.identities), named(keys), "the keys of {what}");
    }
    assert_eq!(files(&ours.certificates), *all("certificatefile"), "the certificates of {what}");
    let known = [all("userknownhostsfile").join(" "), all("globalknownhostsfile").join(" ")].join(" ");
    let known: Vec<&str> = known.split(' ').filter(|file| *file != "none").collect();
    assert_eq!(files(&ours.known_hosts), known, "the known hosts of {what}");
    let jumps: Vec<String> = ours
        .jumps
        .iter()
        .map(|jump| {
            let user = jump.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
            let port = jump.port.map(|port| format!(":{port}")).unwrap_or_default();
            format!("{user}{}{port}", jump.alias)
        })
        .collect();
    let way = all("proxyjump").first().cloned().unwrap_or_default().replace(['[', ']'], "");
    assert_eq!(jumps.join(","), if way == "none" { String::new() } else { way }, "the way of {what}");
}

/// What a person's own files would say is read where OpenSSH reads it.
#[test]
fn the_users_file_stands_before_the_systems() {
    let place = tempfile::tempdir().expect("a directory");
    let home = place.path();
    fs::create_dir_all(home.join(".ssh")).expect("a directory");
    let file = home.join(".ssh/config");
    fs::write(&file, "Host web\n HostName own.example.com\n").expect("a file");
    let reader = Reader { home: home.to_owned(), user: "me".to_owned(), file: None };
    let alias = reader.read(&Asked { alias: "web".to_owned(), ..Asked::default() }).expect("it is read");
    assert_eq!(alias.host, "own.example.com");
    assert_eq!(alias.files.first(), Some(&file));
    let system = Path::new("/etc/ssh/ssh_config");
    assert_eq!(alias.files.iter().any(|file| file == system), system.exists());
}
