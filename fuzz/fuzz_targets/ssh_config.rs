//! Any bytes as OpenSSH's configuration: what stands first counts, a block about other hosts changes nothing, and what cannot be followed
//! is never passed over.

#![no_main]

use libfuzzer_sys::fuzz_target;
use palisade_runner::transport::ssh::config::{Alias, Asked, Reader};

fuzz_target!(|text: &[u8]| {
    let reader = Reader { home: "/nowhere".into(), user: "me".to_owned(), file: None };
    // What is included lies on the machine that fuzzes.
    let word = |word: &[u8]| text.to_ascii_lowercase().windows(word.len()).any(|found| found == word);
    if word(b"include") {
        return;
    }
    let read = |texts: &[&[u8]], host: Option<&str>| -> Option<Alias> {
        let asked = Asked { alias: "web".to_owned(), host: host.map(str::to_owned), ..Asked::default() };
        reader.read_text(&texts.concat(), &asked).ok()
    };
    let alone = read(&[text], None);
    if let Some(alias) = &alone {
        assert!(!alias.host.is_empty() && !alias.host.starts_with('-') && alias.port > 0 && !alias.user.is_empty());
        assert!(alias.known_hosts.iter().chain(&alias.identities).all(|path| path.is_absolute()));
    }
    // The first value of all.
    if let Some(alias) = read(&[b"HostName first\nUser one\nPort 7\nHost *\n", text], None) {
        assert_eq!((alias.host.as_str(), alias.user.as_str(), alias.port), ("first", "one", 7));
    }
    if let Some(alias) = read(&[text], Some("given")) {
        assert_eq!(alias.host, "given");
    }
    // Another's block.
    let other: &[u8] = b"Host other !web\n HostName x\n ProxyCommand x\n RemoteCommand x\n User x\nHost *\n";
    assert_eq!(read(&[other, text], None), read(&[b"Host *\n", text], None));
    // What is not followed.
    let passes_over = word(b"ignoreunknown");
    for line in ["Match exec x", "NoSuchKeyword x", "User \"x"] {
        // Unless the file says that it is to be passed over.
        if line.starts_with("NoSuch") && passes_over {
            continue;
        }
        assert!(read(&[text, b"\n", line.as_bytes(), b"\n"], None).is_none(), "{line}");
    }
    let commanded = read(&[text, b"\nHost web\nProxyCommand x\n"], None);
    assert!(commanded.is_none() || alone.is_some(), "it is followed with a command, and not without");
    if let Some(alias) = commanded {
        // Only where the file has said before how it is reached.
        assert!(!alias.jumps.is_empty() || word(b"proxyjump") || word(b"proxycommand"));
    }
});
