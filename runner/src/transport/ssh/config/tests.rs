use super::*;

fn reader() -> Reader {
    Reader { home: "/home/me".into(), user: "me".to_owned(), file: None }
}

fn asked(alias: &str) -> Asked {
    Asked { alias: alias.to_owned(), ..Asked::default() }
}

fn read(text: &str) -> Result<Alias, String> {
    reader().read_text(text.as_bytes(), &asked("web")).map_err(|error| error.to_string())
}

fn paths(paths: &[PathBuf]) -> Vec<&str> {
    paths.iter().map(|path| path.to_str().unwrap()).collect()
}

/// What `ssh -G` itself makes of such files is compared in the whole-program tests.
#[test]
fn the_first_value_of_a_line_about_the_host_counts() {
    let alias = read(
        "Host other\n Port 1\nHost w* !web2\n\tHostName=%h.example.com # there\n User \"deploy\"\n\
         Port = 2222\nHost web\n Port 23\n IdentityFile ~/a\nHost *\n IdentityFile ~/b\n User nobody\n",
    )
    .unwrap();
    assert_eq!((alias.host.as_str(), alias.port, alias.user.as_str()), ("web.example.com", 2222, "deploy"));
    assert_eq!(paths(&alias.identities), ["/home/me/a", "/home/me/b"]);
    let plain = read("").unwrap();
    assert_eq!((plain.host.as_str(), plain.port, plain.user.as_str()), ("web", 22, "me"));
    assert_eq!(
        paths(&plain.known_hosts),
        [
            "/home/me/.ssh/known_hosts",
            "/home/me/.ssh/known_hosts2",
            "/etc/ssh/ssh_known_hosts",
            "/etc/ssh/ssh_known_hosts2"
        ]
    );
}

#[test]
fn tokens_mean_what_they_mean_to_openssh() {
    let alias = read(
        "HostName h\nPort 7\nUser r\nIdentityFile %d/%h_%n_%p_%r_%u_%%\nUserKnownHostsFile ~/%n none\n\
         GlobalKnownHostsFile none\nProxyJump x@%h-jump:%p,b\n",
    );
    // No token stands for a port.
    assert!(alias.unwrap_err().contains("line 7"));
    let alias = read(
        "HostName h\nPort 7\nUser r\nIdentityFile %d/%h_%n_%p_%r_%u_%%\nUserKnownHostsFile ~/%n none\n\
         GlobalKnownHostsFile none\nProxyJump x@%h-jump:8,b\n",
    )
    .unwrap();
    assert_eq!(paths(&alias.identities), ["/home/me/h_web_7_r_me_%"]);
    assert_eq!(paths(&alias.known_hosts), ["/home/me/web"]);
    let jump =
        |alias: &str, user: Option<&str>, port| Jump { alias: alias.to_owned(), user: user.map(str::to_owned), port };
    assert_eq!(alias.jumps, [jump("h-jump", Some("x"), Some(8)), jump("b", None, None)]);
}

#[test]
fn what_is_given_stands_before_what_a_file_says() {
    let given = Asked {
        host: Some("given%h".to_owned()),
        port: Some(9),
        user: Some("g".to_owned()),
        jumps: true,
        ..asked("web")
    };
    let text = b"HostName h\nPort 7\nUser r\nProxyJump x\nProxyCommand nc\nIdentityFile /%h\n";
    let alias = reader().read_text(text, &given).unwrap();
    assert_eq!((alias.host.as_str(), alias.port, alias.user.as_str()), ("given%h", 9, "g"));
    assert!(alias.jumps.is_empty());
    assert_eq!(paths(&alias.identities), ["/given%h"]);
}

/// Each names the line.
#[test]
fn what_is_not_understood_is_an_error_with_its_line() {
    for (text, line, words) in [
        ("Host a\n\nMatch exec true\n", 3, "`Match exec` is not followed"),
        ("Match host web exec \"true\"\n", 1, "with quotes"),
        ("Match final\n", 1, "`Match final` is not followed"),
        ("Match canonical host web\n", 1, "`Match canonical` is not followed"),
        ("Match !exec x\n", 1, "`Match exec` is not followed"),
        ("Match tagged x\n", 1, "`Match tagged` is not followed"),
        ("Match localnetwork 10.0.0.0/8\n", 1, "`Match localnetwork` is not followed"),
        ("Match all extra\n", 1, "`Match all` is not followed"),
        ("Match !all\n", 1, "`Match all` is not followed"),
        ("Match host=web\n", 1, "with quotes, a backslash or `=`"),
        ("Match host\n", 1, "`Match host` says nothing"),
        ("Host web\n ProxyCommand nc %h %p\n", 2, "`ProxyCommand` is not followed"),
        ("HostKeyAlias a,b\n", 1, "is no name of a host"),
        ("HostKeyAlias *\n", 1, "is no name of a host"),
        ("CanonicalizeHostname yes\n", 1, "is not followed"),
        ("RemoteCommand sudo -i\n", 1, "is not followed"),
        ("RevokedHostKeys /x\n", 1, "is not followed"),
        ("BindAddress 10.0.0.1\n", 1, "is not followed"),
        ("AddressFamily inet6\n", 1, "is not followed"),
        ("UseKeychain yes\n", 1, "`usekeychain` is not known"),
        ("Host other\n NoSuchThing yes\n", 2, "is not known"),
        ("Host\n", 1, "says nothing"),
        ("Host web \"\"\n", 1, "empty pattern"),
        ("User \"a\n", 1, "quote"),
        ("User a b\n", 1, "one value"),
        ("User %r\n", 1, "no plain name"),
        ("Port ssh\n", 1, "is no port"),
        ("Port 0\n", 1, "is no port"),
        ("Port 65536\n", 1, "is no port"),
        ("HostName %p\n", 1, "`%p` is not expanded"),
        ("HostName -oProxyCommand=x\n", 1, "is no name of a host"),
        ("HostName \"a b\"\n", 1, "is no name of a host"),
        ("IdentityFile %i\n", 1, "is not expanded"),
        ("IdentityFile ${HOME}/x\n", 1, "variables are not expanded"),
        ("IdentityFile ~root/x\n", 1, "no absolute path"),
        ("IdentityFile key\n", 1, "no absolute path"),
        ("IdentitiesOnly maybe\n", 1, "neither yes nor no"),
        ("IdentityAgent SSH_AUTH_SOCK\n", 1, "set `agent`"),
        ("ProxyJump a b\n", 1, "names no hosts"),
        ("ProxyJump -oX\n", 1, "names no hosts"),
        ("Include a/*/b\n", 1, "in the last part of a path"),
        ("Include ~root/x\n", 1, "is not followed"),
        ("\"Host\" web\n", 1, "begins with no keyword"),
        ("Host\"web\"\n", 1, "begins with no keyword"),
        ("User a\0b\n", 1, "is not text"),
    ] {
        let why = read(text).unwrap_err();
        assert!(why.contains(&format!("line {line}:")) && why.contains(words), "{text:?}: {why}");
    }
}

#[test]
fn a_match_is_about_what_has_been_read_before_it() {
    for (lines, expected) in [
        ("Match host web", true),
        ("Match host WEB,other", true),
        ("Match Host w*,!we?", false),
        ("Match !host other", true),
        ("Match originalhost web user me", true),
        ("Match originalhost web user root", false),
        ("Match user m*,!root localuser me # us", true),
        ("HostName x.example.com\nMatch host web", false),
        ("HostName %h.example.com\nMatch host web.example.com originalhost web", true),
        ("User deploy\nMatch user deploy", true),
        ("Host other\n User deploy\nMatch user deploy", false),
        ("Host other\nMatch all", true),
        ("Match ALL # of them", true),
    ] {
        let port = read(&format!("{lines}\n Port 7\n")).unwrap().port;
        assert_eq!(port == 7, expected, "{lines:?}");
    }
}

#[test]
fn a_key_is_looked_up_by_its_alias() {
    assert_eq!(
        read("Port 7\nHostKeyAlias Web-Key\nHostKeyAlias other\n").unwrap().host_key_alias.as_deref(),
        Some("web-key")
    );
    assert_eq!(read("Host other\n HostKeyAlias x\n").unwrap().host_key_alias, None);
}

#[test]
fn what_is_about_another_host_or_changes_nothing_is_passed_over() {
    for text in [
        "Host other\n ProxyCommand nc\n HostKeyAlias x\n User %r\nHost *\n Port 7\n",
        "ProxyCommand none\nCanonicalizeHostname no\nAddressFamily any\nPort 7\n",
        "ProxyJump none\nProxyCommand nc\nPort 7\n",
        "IgnoreUnknown UseKey*,other\nUseKeychain yes\nPort 7\n",
        "ForwardAgent yes\nCiphers aes256-ctr\nLocalForward 1 a:1\nStrictHostKeyChecking no\nPort 7\n",
        "  # comment\n\r\nPort 7\r\n",
        "Host other\nMatch all\nPort 7\n",
    ] {
        let told = read(text).map(|alias| (alias.port, alias.jumps.len()));
        assert_eq!(told, Ok((7, 0)), "{text:?}");
    }
    // Not by a pattern that is shut.
    assert!(read("IgnoreUnknown *,!usekeychain\nUseKeychain yes\n").is_err());
    // A key that is named as none keeps the usual ones away.
    assert!(read("IdentityFile none\n").unwrap().identities.is_empty());
}

#[test]
fn files_are_included_in_the_order_of_their_names_and_where_they_are_named() {
    use std::os::unix::fs::PermissionsExt;
    let place = tempfile::tempdir().unwrap();
    let ssh = place.path().join(".ssh");
    std::fs::create_dir_all(ssh.join("conf.d")).unwrap();
    let write = |name: &str, text: &str| {
        let file = ssh.join(name);
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        file
    };
    write("conf.d/20", "Port 20\nHost other\n User o\n");
    write("conf.d/10", "Host web\n Port 10\n");
    write("conf.d/.hidden", "Port 1\n");
    let file = write("config", "Host *\n Include conf.d/*\n User after\nHost no\n Include never\n");
    write("never", "Host *\n User never\n ProxyCommand x\n");
    let reader = |file: Option<PathBuf>| Reader { home: place.path().to_owned(), user: "me".to_owned(), file };
    let alias = reader(Some(file.clone())).read(&asked("web")).unwrap();
    assert_eq!((alias.port, alias.user.as_str()), (10, "after"), "a `Host` ends with its file");
    assert_eq!(alias.files.len(), 4, "{:?}", alias.files);

    let why = |reader: &Reader| reader.read(&asked("web")).unwrap_err().to_string();
    std::fs::set_permissions(ssh.join("conf.d/20"), std::fs::Permissions::from_mode(0o666)).unwrap();
    let open = why(&reader(Some(file.clone())));
    assert!(open.contains("line 2") && open.contains("other users can change it"), "{open}");
    write("conf.d/20", "Include 20\n");
    write("20", "Include 20\n");
    assert!(why(&reader(Some(file))).contains("too deep"));
    assert!(why(&reader(Some(ssh.join("gone")))).contains("is not there"));
}
