//! `policy show`: what this binary holds that policies stand on, or can name.

use std::fmt::Write as _;

use palisade_engine::Source;
use palisade_grammar::Catalogue;

use crate::cli::args::{PolicyPart, PolicyShow};
use crate::cli::commands::inventory::shown_outward;
use crate::cli::exit::Exit;
use crate::cli::report::{self, CliError};
use crate::config;

pub(crate) fn run(args: &PolicyShow) -> Result<Exit, CliError> {
    let text = match (args.what, args.name.as_deref()) {
        (PolicyPart::Profile, None) => profiles(),
        (PolicyPart::Profile, Some(name)) => profile(name)?,
        (PolicyPart::Schema, None) => palisade_policies::SCHEMA.to_owned(),
        (PolicyPart::Schema, Some(name)) => from_schema(name)?,
        (PolicyPart::Groups, None) => palisade_policies::GROUPS.1.to_owned(),
        (PolicyPart::Groups, Some(name)) => group(name)?,
        (PolicyPart::Programs, None) => programs(),
        (PolicyPart::Programs, Some(name)) => program(name)?,
        (PolicyPart::Effects, None) => tools(),
        (PolicyPart::Effects, Some(command)) => effects(command)?,
    };
    report::print(&text);
    Ok(Exit::Fine)
}

fn tools() -> String {
    let mut text = String::new();
    for (name, system, source) in palisade_grammar::outward_tools() {
        let _ = writeln!(text, "{name}\t{system}\t{source}");
    }
    text
}

/// Each command of a text that a table is about, with what it does and the rows that say so.
fn effects(text: &str) -> Result<String, CliError> {
    let redactor = config::redactor()?;
    let inventory = palisade_grammar::inventory(text.as_bytes());
    let mut told = String::new();
    for command in inventory.commands() {
        let words = command.invocation.words.first().map_or("(not known)", String::as_str);
        let Some(outward) = &command.invocation.outward else {
            let _ = writeln!(told, "{words}\tno table is about it");
            continue;
        };
        let _ = writeln!(told, "{words}\t{}", shown_outward(outward));
        for row in &outward.rows {
            let _ = writeln!(told, "\t{}: {row}", outward.table);
        }
    }
    if told.is_empty() {
        let why = inventory.opaque().first().map_or("it runs nothing", |opaque| opaque.detail.as_str());
        return Err(CliError::new(
            format!("no command stands in this text: {why}"),
            "quote the whole command as one word",
        ));
    }
    Ok(redactor.text(&told).as_str().to_owned())
}

fn profiles() -> String {
    let mut text = String::new();
    for (name, (_, source)) in palisade_policies::PROFILES {
        let about: Vec<&str> = source.lines().map_while(|line| line.strip_prefix("// ")).collect();
        let about = about.join(" ");
        let _ = writeln!(
            text,
            "{}",
            about.strip_prefix(&format!("{name}: ")).map_or(about.clone(), |said| format!("{name}\t{said}"))
        );
    }
    text
}

/// Every file that a set on this profile is made of, the guards first.
fn profile(name: &str) -> Result<String, CliError> {
    let files = Source::of_profile(name).map_err(|error| CliError::of(&error))?;
    let mut text = String::new();
    for (file, source) in palisade_policies::GUARDS {
        let _ = writeln!(text, "// ==== {file}\n\n{}", source.trim_end());
        text.push('\n');
    }
    for Source { name, text: source } in files {
        let _ = writeln!(text, "// ==== {name}\n\n{}", source.trim_end());
        text.push('\n');
    }
    Ok(text)
}

/// The declarations of the schema that name something: an entity, an action, an attribute.
fn from_schema(name: &str) -> Result<String, CliError> {
    let words = |line: &str| line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name);
    let mut found = String::new();
    for block in blocks(palisade_policies::SCHEMA) {
        if block.lines().any(|line| words(line.split("//").next().unwrap_or_default())) {
            found.push_str(block.trim_end());
            found.push_str("\n\n");
        }
    }
    if found.is_empty() {
        let code = palisade_policies::SCHEMA.lines().map(|line| line.split("//").next().unwrap_or_default());
        let names = code.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'));
        return Err(CliError::new(
            format!("nothing in the schema is called `{name}`"),
            near(name, names, "`palisade policy show schema` prints all of it"),
        ));
    }
    Ok(found)
}

/// A text of declarations, each up to the line that ends with its `;`.
fn blocks(text: &str) -> impl Iterator<Item = String> {
    let mut lines = text.lines();
    std::iter::from_fn(move || {
        let mut block = String::new();
        for line in lines.by_ref() {
            block.push_str(line);
            block.push('\n');
            let code = line.split("//").next().unwrap_or_default().trim_end();
            if code.ends_with(';') && !line.starts_with(' ') {
                break;
            }
        }
        (!block.is_empty()).then_some(block)
    })
}

fn group(name: &str) -> Result<String, CliError> {
    let (_, table) = palisade_policies::GROUPS;
    let is_header = |line: &str| line.starts_with('[');
    let is_meant = |line: &str| {
        let named = line.trim_start_matches('[').trim_end_matches(']').split_once('.');
        named.is_some_and(|(_, group)| group.trim_matches('"') == name)
    };
    let mut lines = table.lines().skip_while(|line| !(is_header(line) && is_meant(line))).peekable();
    if lines.peek().is_none() {
        let names: Vec<&str> = table.lines().filter_map(|line| line.strip_prefix('[')?.strip_suffix(']')).collect();
        let short = names.iter().filter_map(|name| Some(name.split_once('.')?.1.trim_matches('"')));
        return Err(CliError::new(
            format!("no group is called `{name}`"),
            near(name, short, &format!("the groups are: {}", names.join(", "))),
        ));
    }
    let mut text = String::new();
    for (at, line) in lines.enumerate() {
        if at > 0 && is_header(line) {
            break;
        }
        let _ = writeln!(text, "{line}");
    }
    Ok(format!("{}\n", text.trim_end()))
}

/// What to do about a name that there is not: the nearest one first, if one is close.
fn near<'n>(name: &str, names: impl Iterator<Item = &'n str>, help: &str) -> String {
    match palisade_engine::nearest_name(name, names) {
        Some(near) => format!("did you mean `{near}`? {help}"),
        None => help.to_owned(),
    }
}

fn programs() -> String {
    let names = Catalogue::shared().programs().filter(|id| !id.contains(' '));
    let mut text: String = names.map(|id| format!("{id}\n")).collect();
    text.push_str("\ncommand groups\n");
    Catalogue::shared().groups().for_each(|group| {
        let _ = writeln!(text, "{group}");
    });
    text
}

/// What a policy can name of one program: itself and its subcommands, each with its options.
fn program(name: &str) -> Result<String, CliError> {
    let catalogue = Catalogue::shared();
    if !catalogue.has_program(name) {
        let help = "`palisade policy show programs` lists those that one describes; others can be named, and are in no command group";
        let help = near(name, catalogue.programs(), help);
        return Err(CliError::new(format!("no table describes `{name}`"), help));
    }
    let is_meant = |id: &&str| id.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
    let mut text = String::new();
    for id in catalogue.programs().filter(is_meant) {
        let options: Vec<&str> = catalogue.own_options(id).collect();
        let groups: Vec<&str> = catalogue.groups_of(id).collect();
        let _ = writeln!(text, "Program::{id:?}");
        if !groups.is_empty() {
            let _ = writeln!(text, "  groups: {}", groups.join(", "));
        }
        if !options.is_empty() {
            let _ = writeln!(text, "  flags: {}", options.join(" "));
        }
    }
    Ok(text)
}
