//! The no-gain principle as a property: whatever it lets through without a question, own code can do as well.
//!
//! For many policy sets the same acts are tried twice in a real session: by text whose words are computed, which the principle lets
//! through, and by a program of the workspace. An act that succeeds in the first way and not in the second is a gain.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

use crate::support::world::World;

/// Policy sets that are tried, each of a number whose bits choose its rules.
const SETS: u32 = 24;

/// What the sets have in common: own code and installed programs may run, and the principle holds.
const COMMON: &str = r#"
@id("own") permit (principal, action == Action::"exec", resource) when {
  [Origin::"workspace", Origin::"system", Origin::"toolchain", Origin::"builtin"].contains(resource.origin)
};
@id("free") permit (principal, action == Action::"exec", resource) when { context.noGain };
@id("work") permit (principal, action in [Action::"fileAccess", Action::"execute"], resource) when {
  resource in context.workspace || resource in PathGroup::"temp"
};
@id("system") permit (principal, action in [Action::"read", Action::"execute"], resource in PathGroup::"system");
@id("toolchains") permit (principal, action in [Action::"read", Action::"execute"], resource in PathGroup::"toolchains");
@id("devices") permit (principal, action in [Action::"read", Action::"write"], resource in PathGroup::"devices");
@id("env") permit (principal, action == Action::"setEnv", resource);
@id("open") permit (principal, action == Action::"openSession", resource);
@id("unknown") permit (principal, action in [Action::"fileAccess", Action::"execute"], resource) when { resource.unknown && context.noGain };
"#;

/// Rules of which each set has some. `ROOT` is the world's directory.
const RULES: [&str; 8] = [
    r#"permit (principal, action == Action::"read", resource) when { resource in Path::"ROOT/home/given" };"#,
    r#"permit (principal, action in [Action::"fileAccess", Action::"execute"], resource) when { resource in Path::"ROOT/home/shared" };"#,
    r#"@reason("r") forbid (principal, action == Action::"read", resource) when { resource in Path::"ROOT/work/private" };"#,
    r#"@reason("r") forbid (principal, action in Action::"fileChange", resource) when { resource in Path::"ROOT/work/fixed" };"#,
    r#"@reason("r") forbid (principal, action in [Action::"fileAccess", Action::"execute"], resource in PathGroup::"secrets");"#,
    r#"permit (principal, action == Action::"read", resource) when {
         resource in Path::"ROOT/home/cats" && context.program == Program::"cat" };"#,
    r#"@reason("r") forbid (principal, action == Action::"exec", resource in Program::"id");"#,
    r#"@reason("r") forbid (principal, action == Action::"delete", resource) when { resource in Path::"ROOT/work/fixed" };"#,
];

const FILES: [&str; 9] = [
    "work/plain",
    "work/private/a",
    "work/fixed/a",
    "work/.env",
    "home/given/a",
    "home/shared/a",
    "home/cats/a",
    "home/.ssh/id_ed25519",
    "home/other",
];

fn world() -> World {
    let world = World::new();
    for file in FILES {
        let path = world.path(file);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, "text\n").expect("a file");
    }
    world
}

fn policies(world: &World, set: u32) -> String {
    let root = world.path("");
    let root = root.to_str().expect("UTF-8").trim_end_matches('/');
    let mut text = COMMON.to_owned();
    for (at, rule) in RULES.iter().enumerate().filter(|(at, _)| bits(set) & (1 << at) != 0) {
        let _ = writeln!(text, "@id(\"rule-{at}\") {}", rule.replace("ROOT", root));
    }
    text
}

/// Well mixed, and the same in every run.
fn bits(set: u32) -> u32 {
    set.wrapping_mul(0x9E37_79B9).rotate_left(9)
}

/// Each act with its name, as text whose words no reader of the text can know, and in Python. The names that the text needs lie in
/// a file.
fn acts(world: &World) -> Vec<(String, String, String)> {
    let mut acts = Vec::new();
    let mut names = String::new();
    let mut computed = |name: &str| {
        let _ = writeln!(names, "{name}");
        format!("$(sed -n {}p names)", names.lines().count())
    };
    for file in FILES {
        let path = world.path(file);
        let path = Path::new(&path).display();
        let by = computed(&path.to_string());
        acts.push((format!("read {file}"), format!("cat \"{by}\""), format!("open('{path}').read()")));
        acts.push((
            format!("write {file}"),
            format!("echo more >> \"{by}\""),
            format!("open('{path}', 'a').write('more')"),
        ));
        acts.push((
            format!("make beside {file}"),
            format!("x={by}; touch \"$x\".new"),
            format!("open('{path}.new2', 'w')"),
        ));
        acts.push((
            format!("remove what was made beside {file}"),
            format!("x={by}; rm \"${{x}}.new\""),
            format!("os.remove('{path}.new2')"),
        ));
    }
    for program in ["id", "true", "uname"] {
        let by = computed(program);
        acts.push((format!("run {program}"), by.clone(), format!("run(['{program}'])")));
        acts.push((
            format!("run {program} with a library path"),
            format!("x={by}; LD_LIBRARY_PATH=lib $x"),
            format!("run(['{program}'], dict(os.environ, LD_LIBRARY_PATH='lib'))"),
        ));
    }
    world.write("work/names", &names);
    acts
}

fn outcomes(result: &Value) -> BTreeMap<&str, bool> {
    let lines = result["stdout"].as_str().unwrap_or_default().lines();
    lines.filter_map(|line| line.rsplit_once(" = ").map(|(act, came_off)| (act, came_off == "yes"))).collect()
}

#[test]
fn what_is_not_asked_about_own_code_can_do() {
    let (mut free, mut refused) = (0, 0);
    for set in 0..SETS {
        let world = world();
        let site = world.write("site.cedar", &policies(&world, set));
        let acts = acts(&world);
        let mut text = String::new();
        let mut own = "#!/usr/bin/python3\nimport os, subprocess\n\
                       def run(words, env=None):\n    subprocess.run(words, env=env, check=True, stdout=subprocess.DEVNULL)\n"
            .to_owned();
        for (name, by_text, by_own) in &acts {
            let _ = writeln!(
                text,
                "if {{ {by_text}; }} > /dev/null 2>&1; then echo '{name} = yes'; else echo '{name} = no'; fi"
            );
            let _ = writeln!(
                own,
                "try:\n    {by_own}\n    print('{name} = yes')\nexcept Exception:\n    print('{name} = no')"
            );
        }
        world.program("own", &own);
        let run = |command: &str| {
            let ended = world.call(&["run", "--json", "--policies", site.to_str().expect("UTF-8"), command]);
            let result: Value =
                serde_json::from_str(ended.stdout.lines().last().unwrap_or_default()).unwrap_or_default();
            assert_eq!(result["status"], "done", "set {set}: {ended:?}");
            result
        };
        let (by_text, by_own) = (run(&text), run("./own"));
        let (by_text, by_own) = (outcomes(&by_text), outcomes(&by_own));
        assert_eq!(by_text.len(), acts.len(), "set {set}: {by_text:?}");
        assert_eq!(by_own.len(), acts.len(), "set {set}: {by_own:?}");
        for (name, came_off) in by_text {
            if came_off {
                free += 1;
                assert!(by_own[name], "set {set}: `{name}` is a gain under\n{}", policies(&world, set));
            } else {
                refused += 1;
            }
        }
    }
    // Both are tried: else the comparison would say nothing.
    assert!(free > 100 && refused > 100, "{free} came off, {refused} did not");
}
