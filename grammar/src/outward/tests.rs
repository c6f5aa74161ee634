//! Each table says what its examples expect, and words that are not known never make a command harmless.

use std::collections::BTreeSet;

use super::table;
use crate::inventory;
use crate::inventory::Invocation;
use crate::outward_facts::OutwardEffect;

fn invocation(command: &str) -> Invocation {
    let inventory = inventory(command.as_bytes());
    inventory.commands().first().map(|command| command.invocation.clone()).unwrap_or_default()
}

fn all() -> BTreeSet<&'static str> {
    OutwardEffect::ALL.iter().map(|effect| effect.as_str()).collect()
}

fn names(effects: &BTreeSet<OutwardEffect>) -> BTreeSet<&'static str> {
    effects.iter().map(|effect| effect.as_str()).collect()
}

#[test]
fn each_table_says_what_its_examples_expect() {
    let (mut wrong, mut examples, mut tables) = (Vec::new(), 0, 0);
    for (file, written, written_examples) in table::files() {
        tables += 1;
        for name in written.aliases.iter().chain([&written.name]) {
            if let Err(error) = table::find(name) {
                wrong.push(error.to_owned());
            }
        }
        if written_examples.len() < 3 {
            wrong.push(format!("{file}: fewer than three examples"));
        }
        for example in written_examples {
            examples += 1;
            let Some(outward) = invocation(&example.command).outward else {
                wrong.push(format!("{file}: {}: no table", example.command));
                continue;
            };
            let expected: BTreeSet<&str> = match example.effects.as_slice() {
                // In a tool that runs tasks and plugins here, such a verb is one of these.
                [one] if one == "unknown" && written.local => BTreeSet::new(),
                [one] if one == "unknown" => all(),
                effects => effects.iter().map(String::as_str).collect(),
            };
            let is_known = !example.command.contains(['$', '*', '[']);
            if names(&outward.effects) != expected || is_known && !outward.possible.is_empty() {
                wrong.push(format!("{file}: {}: {:?} {:?}", example.command, outward.effects, outward.possible));
            }
            for (word, place) in &example.scope {
                if outward.scope.get(word) != Some(place) {
                    wrong.push(format!("{file}: {}: {word}: {:?}", example.command, outward.scope));
                }
            }
            if example.target.is_some_and(|target| target != outward.target) {
                wrong.push(format!("{file}: {}: to `{}`", example.command, outward.target));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {examples}:\n{}", wrong.len(), wrong.join("\n"));
    assert!(tables >= 100 && examples >= 1500, "{tables} tables, {examples} examples");
}

#[test]
fn what_is_not_known_may_be_anything() {
    for (command, certain, possible) in [
        ("kubectl get pods", "observe", ""),
        // It may turn out to be an option that writes a file.
        ("kubectl get pods $x", "", "observe credential"),
        ("kubectl get pods \"web-$x\"", "observe", ""),
        ("git log -L10,30:src/lib.rs -G'a|b'", "", ""),
        ("git -Xabcdef push", "change", ""),
        ("bq query --dry_run=false 'DROP TABLE t'", "change create destroy observe", ""),
        ("psql -c \"DELETE FROM t WHERE a = $x\"", "destroy", "observe change"),
        ("psql -c \"$x\"", "", "all"),
        ("psql <<< 'DROP TABLE t'", "destroy", ""),
        ("mongosh --eval \"db.a.deleteMany({b: $x})\"", "destroy", "observe change"),
        ("python3 -m twine upload dist/x", "publish", ""),
        ("curl \"https://h/$x\" -X DELETE", "destroy", ""),
        ("curl https://h/a?b=c", "observe", ""),
        ("sqlcmd -Q 'SELECT 1\n!! rm x'", "all", ""),
        ("mysql -e \"SELECT 1 #>'\n; DROP TABLE t; -- '\"", "all", ""),
        ("cqlsh -e \"SELECT a FROM t //'\n; DROP TABLE t; //'\"", "all", ""),
        ("sqlcmd -Q \"SELECT [a]]'] ; DROP TABLE t; SELECT [b]]']\"", "all", ""),
        ("sqlcmd -Q 'SELECT 1\nGO\nsp_who'", "all", ""),
        ("sqlcmd -Q 'SELECT 1 DBCC FREEPROCCACHE'", "change observe", ""),
        ("mongosh --eval \"db.a.find({x: /'/}); db.a.drop(); db.b.find({y: /'/})\"", "all", ""),
        ("mongosh --eval 'db.runCommand({ping: 1})'", "observe", ""),
        ("mongosh --eval 'db.runCommand({drop: \"a\"})'", "all", ""),
        ("kubectl delete pod \"$name\"", "destroy", "observe"),
        ("kubectl delete pod \"web-$name\"", "destroy", ""),
        ("kubectl $verb pods", "", "all"),
        ("kubectl --no-such-option get pods", "all", ""),
        ("kubectl no-such-verb", "all", ""),
        ("kubectl -n prod delete namespace x", "destroy", ""),
        ("kubectl get \"$kind\" x -o yaml", "", "observe credential"),
        ("gh api repos/o/r -X $method", "", "all"),
        ("gh api \"repos/$o/pulls\"", "observe", ""),
        ("gh api -ZXDELETE repos/o/r", "destroy observe", ""),
        ("kubectl -n $x get secret db", "", "all"),
        ("kubectl get -- $x", "", "observe"),
        ("aws ec2 describe-instances --a 1 --b 2 --c 3 --d 4 --e 5 --f 6", "observe", ""),
        ("kubectl --a --b --c --d --e get pods", "all", ""),
        ("redis-cli -n 2 del $keys", "destroy", ""),
        ("cargo nextest run", "", ""),
        ("cargo $x", "", "rest"),
    ] {
        let outward = invocation(command).outward;
        assert!(outward.is_some(), "{command}: no table");
        let Some(outward) = outward else { continue };
        let words = |text: &'static str| match text {
            "all" => all(),
            _ => text.split_whitespace().collect(),
        };
        assert_eq!(names(&outward.effects), words(certain), "{command}: {outward:?}");
        match possible {
            "rest" => assert!(outward.possible.contains(&OutwardEffect::Publish), "{command}: {outward:?}"),
            _ => assert!(names(&outward.possible).is_superset(&words(possible)), "{command}: {outward:?}"),
        }
    }
}

#[test]
fn variables_say_where() {
    let outward = invocation("AWS_PROFILE=prod aws s3 rb s3://b").outward;
    assert_eq!(outward.map(|outward| outward.narrowest().to_owned()).as_deref(), Some("prod"));
}

#[test]
fn requests_and_servers_are_told() {
    for (command, request, hosts) in [
        ("curl -X delete https://User@H.example/a/b?c=d", Some(("DELETE", "h.example", "/a/b")), "h.example"),
        ("curl -d x https://h/a https://h/b", Some(("POST", "h", "")), "h h"),
        ("curl -L https://h/a", Some(("GET", "", "")), ""),
        ("curl --connect-to ::prod: https://h/a", Some(("GET", "", "")), ""),
        ("http :3000/users a=b", Some(("POST", "localhost", "/users")), "localhost"),
        ("gh api -X PATCH repos/o/r", Some(("PATCH", "api.github.com", "/repos/o/r")), "api.github.com"),
        ("gh pr list", None, ""),
        ("psql -h localhost app -c 'SELECT 1'", None, "localhost"),
        ("psql -h localhost postgres://prod/app -c 'SELECT 1'", None, ""),
        ("PGHOSTADDR=10.0.0.1 psql -h localhost app -c 'SELECT 1'", None, ""),
        ("PGHOST=prod psql app -c 'SELECT 1'", None, ""),
        ("redis-cli -p 7000 get a", None, "localhost"),
        ("redis-cli get a", None, ""),
        ("redis-cli -s /tmp/r.sock get a", None, "/tmp/r.sock"),
    ] {
        let outward = invocation(command).outward;
        assert!(outward.is_some(), "{command}: no table");
        let Some(outward) = outward else { continue };
        let told = outward.request.as_ref().map(|of| (of.method.as_str(), of.host.as_str(), of.path.as_str()));
        assert_eq!((told, outward.hosts.join(" ").as_str()), (request, hosts), "{command}");
    }
}

#[test]
fn a_table_that_says_too_little_is_refused() {
    for (text, error) in [
        (r#"{"name": "x", "system": "s", "source": "v"}"#, None),
        (r#"{"name": "x", "system": "s"}"#, Some("no `source`")),
        (
            r#"{"name": "x", "system": "s", "source": "v", "values": ["-a"], "flags": ["-a"]}"#,
            Some("`-a` stands twice"),
        ),
        (
            r#"{"name": "x", "system": "s", "source": "v", "verbs": {"observe": ["get --all"]}}"#,
            Some("`get --all`: `--all` is in none of values, optional, flags"),
        ),
    ] {
        let written: table::ToolFile = serde_json::from_str(text).unwrap_or_default();
        assert_eq!(table::Tool::of("x.toml", written).err().as_deref(), error, "{text}");
    }
}
