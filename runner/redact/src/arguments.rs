//! Which words of a command are secrets: decides what is known of a command's secrets before it runs.
//!
//! Whatever the command prints, in whatever encoding, these values are searched for in it. Only words that the text
//! spells out count. What a word means is asked of its name (`--token X`, `X_TOKEN=…`), of the few programs that take a
//! password in a short option, and of the rules.

use palisade_grammar::{Command, Inventory};

use super::learned_value::LearnedOrigin;
use super::{KnownValue, word};

/// What marks call a word whose name is not a variable's.
const NAME: &str = "command-argument";

/// Names that end in one of these hold secrets.
const SECRET_NAMES: [&str; 25] = [
    "accesskey",
    "accountkey",
    "apikey",
    "apitoken",
    "authkey",
    "authtoken",
    "bearer",
    "bindpw",
    "clientsecret",
    "credential",
    "credentials",
    "encryptionkey",
    "masterkey",
    "pass",
    "passphrase",
    "passwd",
    "password",
    "passwort",
    "privatekey",
    "psk",
    "pwd",
    "secret",
    "secretkey",
    "signingkey",
    "token",
];
/// Names that end so, and hold none.
const PLAIN_NAMES: [&str; 4] = ["pwd", "oldpwd", "nopass", "compass"];

/// Programs whose words are text to look for or to change.
const TEXT_PROGRAMS: [&str; 16] = [
    "ack", "ag", "awk", "egrep", "fd", "fgrep", "find", "gawk", "grep", "jq", "perl", "rg", "ripgrep", "sed", "ugrep",
    "zgrep",
];
/// Commands of git whose words are text.
const GIT_TEXTS: [&str; 8] = ["commit", "diff", "grep", "log", "merge", "notes", "show", "tag"];

/// How a program takes a password in a short option.
struct ShortOption {
    programs: &'static [&'static str],
    option: &'static str,
    value: PasswordForm,
}

/// Where the password is.
#[derive(Clone, Copy)]
enum PasswordForm {
    /// Directly behind the option, in the same word.
    Joined,
    /// In the same word or in the next one.
    Either,
    /// As `Either`, behind a user's name and this byte.
    User(char),
    /// As `Either`, behind `pass:`.
    Pass,
}

const SHORT_OPTIONS: [ShortOption; 12] = [
    ShortOption {
        programs: &[
            "mysql",
            "mysqldump",
            "mysqladmin",
            "mysqlimport",
            "mysqlshow",
            "mysqlcheck",
            "mydumper",
            "mariadb",
            "mariadb-dump",
            "mariadb-admin",
            "7z",
            "7za",
            "rar",
            "unrar",
        ],
        option: "-p",
        value: PasswordForm::Joined,
    },
    ShortOption {
        programs: &[
            "sshpass",
            "docker",
            "podman",
            "nerdctl",
            "skopeo",
            "buildah",
            "mongo",
            "mongosh",
            "mongodump",
            "vncviewer",
            "az",
        ],
        option: "-p",
        value: PasswordForm::Either,
    },
    ShortOption { programs: &["curl", "http", "https", "xh"], option: "-u", value: PasswordForm::User(':') },
    ShortOption { programs: &["curl"], option: "-U", value: PasswordForm::User(':') },
    ShortOption { programs: &["http", "https", "xh"], option: "-a", value: PasswordForm::User(':') },
    ShortOption {
        programs: &["ldapsearch", "ldapadd", "ldapmodify", "ldapdelete", "ldappasswd", "ldapwhoami", "ldapmodrdn"],
        option: "-w",
        value: PasswordForm::Either,
    },
    ShortOption { programs: &["redis-cli", "valkey-cli"], option: "-a", value: PasswordForm::Either },
    ShortOption { programs: &["openssl"], option: "-pass", value: PasswordForm::Pass },
    ShortOption { programs: &["openssl"], option: "-passin", value: PasswordForm::Pass },
    ShortOption { programs: &["openssl"], option: "-passout", value: PasswordForm::Pass },
    ShortOption {
        programs: &["smbclient", "rpcclient", "net", "smbget"],
        option: "-U",
        value: PasswordForm::User('%'),
    },
    ShortOption { programs: &["sqlcmd", "bcp", "zip", "unzip", "isql"], option: "-P", value: PasswordForm::Either },
];

/// The values in a script that are secrets by their name or place.
pub(super) fn named(inventory: &Inventory) -> Vec<KnownValue> {
    let mut values = suspected(inventory);
    values.retain(|value| value.unfit().is_none() && !value.is_placeholder());
    values
}

/// The same with those that are too short or too common to be searched for anywhere else.
pub(super) fn suspected(inventory: &Inventory) -> Vec<KnownValue> {
    inventory.commands().iter().flat_map(in_command).collect()
}

/// Every word that the script spells out, as its program will see it.
pub(super) fn words(inventory: &Inventory) -> impl Iterator<Item = &str> {
    inventory.commands().iter().flat_map(literals)
}

fn literals(command: &Command) -> impl Iterator<Item = &str> {
    let assigned = command.assignments.iter().map(|assignment| &assignment.value);
    command.argv.iter().skip(1).chain(assigned).filter_map(|word| word.value.literal())
}

fn in_command(command: &Command) -> Vec<KnownValue> {
    let mut values = Vec::new();
    for assignment in command.assignments.iter().filter(|assignment| is_secret(&assignment.name)) {
        let origin = || LearnedOrigin::Variable { name: assignment.name.clone() };
        let value = assignment.value.value.literal();
        values.extend(value.map(|value| KnownValue::new(assignment.name.as_str(), value).standing_at(origin())));
    }
    let program = command.program.value.literal().unwrap_or_default().rsplit('/').next().unwrap_or_default();
    let words: Vec<Option<&str>> = command.argv.iter().map(|word| word.value.literal()).collect();
    for (index, word) in words.iter().enumerate().skip(1) {
        let (Some(word), next) = (word, words.get(index + 1).copied().flatten()) else { continue };
        if !reads_text(program, &words) {
            values.extend(in_word(program, word, next));
        }
        let options = SHORT_OPTIONS.iter().filter(|option| option.programs.contains(&program));
        values.extend(options.filter_map(|option| {
            let origin = argument(option.option, program);
            option.value(word, next).map(|value| KnownValue::new(NAME, value).standing_at(origin))
        }));
    }
    values
}

fn argument(option: &str, program: &str) -> LearnedOrigin {
    LearnedOrigin::Argument { option: option.to_owned(), program: program.to_owned() }
}

/// `NAME=value`, `--name=value`, `--name value`.
fn in_word(program: &str, word: &str, next: Option<&str>) -> Option<KnownValue> {
    let (name, value) = match word.split_once('=') {
        // Words of a message or of a program's text are no name; `==` compares.
        Some((name, value)) if !is_name(name) || value.starts_with('=') => return None,
        // A variable's name in capitals, or an option, has no code behind it.
        Some((name, value)) if !is_literal(name) && word::is_code(value.as_bytes()) => return None,
        Some((name, value)) => (name, Some(value)),
        None if word.starts_with("--") => (word, next),
        None => return None,
    };
    let shown = if name.starts_with('-') { NAME } else { name };
    let value = is_secret(name).then_some(value?)?;
    Some(KnownValue::new(shown, value).standing_at(argument(name, program)))
}

/// Whether the words of a command are what it searches for or says, and not what it is told to use.
fn reads_text(program: &str, words: &[Option<&str>]) -> bool {
    let subcommand = words.iter().skip(1).flatten().find(|word| !word.starts_with('-'));
    TEXT_PROGRAMS.contains(&program) || program == "git" && subcommand.is_some_and(|word| GIT_TEXTS.contains(word))
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-.:[]".contains(&byte))
}

fn is_literal(name: &str) -> bool {
    name.starts_with('-') || !name.bytes().any(|byte| byte.is_ascii_lowercase())
}

impl ShortOption {
    fn value<'a>(&self, word: &'a str, next: Option<&'a str>) -> Option<&'a str> {
        let rest = word.strip_prefix(self.option)?;
        let value = match self.value {
            PasswordForm::Joined => Some(rest),
            PasswordForm::Either | PasswordForm::User(_) if !rest.is_empty() => Some(rest),
            PasswordForm::Pass if !rest.is_empty() => None,
            PasswordForm::Either | PasswordForm::User(_) | PasswordForm::Pass => next,
        }?;
        match self.value {
            PasswordForm::Joined | PasswordForm::Either => Some(value),
            PasswordForm::User(between) => value.split_once(between).map(|(_, password)| password),
            PasswordForm::Pass => value.strip_prefix("pass:"),
        }
    }
}

/// Whether what has this name is a secret.
fn is_secret(name: &str) -> bool {
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    SECRET_NAMES.iter().any(|ending| name.ends_with(ending)) && !PLAIN_NAMES.contains(&name.as_str())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::super::{RedactedBytes, Redactor};

    #[test]
    fn secrets_of_a_command_are_known_before_it_runs() {
        let redactor = Redactor::builtin().unwrap().session();
        for (script, secret) in [
            ("mysql -h db -ps3cret-word app", "s3cret-word"),
            ("mysqldump '-pa b c d e f' app", "a b c d e f"),
            ("sshpass -p 's3cret word' ssh h", "s3cret word"),
            ("curl -u me:s3cret-word https://h/", "s3cret-word"),
            ("curl -H 'Authorization: Bearer 0123456789abcdefEXAMPLE' h", "0123456789abcdefEXAMPLE"),
            ("sudo tool --auth-token 'odd $value' x", "odd $value"),
            ("tool --db-password=sunflower", "sunflower"),
            ("MY_API_TOKEN='sunflower seeds' tool", "sunflower seeds"),
            ("export DEPLOY_SECRET=sunflower-seeds; tool", "sunflower-seeds"),
            ("docker run -e DB_PASSWORD=sunflower image", "sunflower"),
            ("openssl enc -k x -pass pass:sunflower", "sunflower"),
            ("echo hi | redis-cli -a sunflower ping", "sunflower"),
            ("bash -c 'mysql -psunflower'", "sunflower"),
        ] {
            let aware = redactor.aware_of(&palisade_grammar::inventory(script.as_bytes()));
            let encoded: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
            let reversed: String = secret.chars().rev().collect();
            for shown in [secret, &encoded, &reversed] {
                let out = aware.text(&format!("x{shown}y"));
                assert!(out.as_str().contains("[redacted:") && !out.as_str().contains(shown), "{script}: {out}");
            }
        }
    }

    #[test]
    fn ordinary_words_are_no_secrets() {
        let redactor = Redactor::builtin().unwrap().session();
        for (script, word) in [
            ("PWD=/srv/application make", "/srv/application"),
            ("tool --token-file /run/some-token-file", "/run/some-token-file"),
            ("mkdir -p some-directory", "some-directory"),
            ("tool --password \"$PASSWORD\" production-host", "production-host"),
            ("grep -u some-words file", "some-words"),
            ("grep -n 'password = get_password' app.py", "get_password"),
            ("grep -rn password=get_password src", "get_password"),
            ("rg 'token=refresh_token_of_user' src", "refresh_token_of_user"),
            ("git commit -m 'set token=refresh when it is old'", "refresh when it is old"),
            ("git commit -m token=refreshed", "refreshed"),
            ("tool password=get_password", "get_password"),
            ("tool password=config.get_password()", "config.get_password()"),
            ("pip install token==1.2.3.dev20", "=1.2.3.dev20"),
            ("tool --password '{{password}}'", "{{password}}"),
            ("DB_PASSWORD='<password>' tool", "<password>"),
            ("DB_PASSWORD=xxxxxxxxxxx tool", "xxxxxxxxxxx"),
            ("sed -i 's/password = old_password_of_db/password = new_password_of_db/' a", "new_password_of_db"),
        ] {
            let out = redactor.aware_of(&palisade_grammar::inventory(script.as_bytes())).text(word);
            assert_eq!(out.as_str(), word, "{script}");
        }
    }

    #[test]
    fn short_values_are_learned_if_they_are_mixed() {
        for (script, value, learned) in [
            ("A_TOKEN=aB3xY9kL tool", "aB3xY9kL", true),
            ("DB_PASSWORD='q9$Lm2#zR1' tool", "q9$Lm2#zR1", true),
            ("tool --password hunter2!x", "hunter2!x", true),
            ("A_TOKEN=getToken2 tool", "getToken2", false),
            ("A_TOKEN=v1.2.3-rc1 tool", "v1.2.3-rc1", false),
            ("A_TOKEN=sunflower tool", "sunflower", false),
        ] {
            let redactor = Redactor::builtin().unwrap().session();
            drop(redactor.aware_of(&palisade_grammar::inventory(script.as_bytes())));
            let out = redactor.text(&format!("it is {value} indeed"));
            assert_eq!(!out.as_str().contains(value), learned, "{script}: {out}");
        }
    }

    #[test]
    fn later_commands_know_only_what_can_be_told_from_chance() {
        let redactor = Redactor::builtin().unwrap().session();
        let aware =
            redactor.aware_of(&palisade_grammar::inventory(b"A_TOKEN=Zx81-k3yQ-77Lm-pq9 B_TOKEN=sunflower tool"));
        let push = |redactor: &Redactor, text: &str| {
            let mut stream = redactor.stream();
            let mut out: RedactedBytes = stream.push(text.as_bytes());
            out.append(&stream.finish());
            out.to_text().0.to_string()
        };
        assert!(!push(&aware, "sunflower").contains("sunflower"));
        assert_eq!(push(&redactor, "sunflower"), "sunflower");
        assert!(!push(&redactor, "xZx81-k3yQ-77Lm-pq9x").contains("k3yQ"));
    }
}
