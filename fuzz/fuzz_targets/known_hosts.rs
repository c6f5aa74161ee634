//! Any bytes as a file of known hosts: a key that is not in them is never known, one that is revoked for all hosts never is,
//! and a line of ours counts beside whatever else there is.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use palisade_runner::transport::ssh::host_key::{HostKeyMatch, KnownHosts, Shown};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKRBl+Q0zsUQvsYOqLPNlA6mvOPoH/65ns0YCa6lt9p6";

fuzz_target!(|text: &[u8]| {
    let shown = Shown::from_openssh(KEY).expect("a key");
    let file = Path::new("known_hosts");
    let decide = |texts: &[&[u8]], port| {
        let mut known = KnownHosts::default();
        texts.iter().for_each(|text| known.extend(file, text));
        known.decide("h.example.com", port, &shown, 0)
    };
    for (port, name) in [(22, "h.example.com"), (2222, "[h.example.com]:2222")] {
        let answer = decide(&[text], port);
        let blob = KEY.split(' ').nth(1).expect("a blob").as_bytes();
        let is_in = text.windows(blob.len()).any(|window| window == blob);
        assert!(is_in || answer != HostKeyMatch::Known, "a key that is not there is known");

        let revoked = format!("\n@revoked * {KEY}\n");
        assert!(matches!(decide(&[text, revoked.as_bytes()], port), HostKeyMatch::Revoked(_)));
        assert!(matches!(decide(&[revoked.as_bytes(), text], port), HostKeyMatch::Revoked(_)));

        let ours = format!("{name} {KEY}\n");
        let beside = decide(&[text, ours.as_bytes()], port);
        assert!(matches!(beside, HostKeyMatch::Known | HostKeyMatch::Revoked(_)), "our own line is lost: {beside:?}");
        let is_revoked = |answer: &HostKeyMatch| matches!(answer, HostKeyMatch::Revoked(_));
        // As for OpenSSH: a line without a port, one that revokes too, counts at another port only if none has that port.
        assert!(
            is_revoked(&beside) == is_revoked(&answer) || port != 22 && is_revoked(&answer),
            "{answer:?}, {beside:?}"
        );
    }
});
