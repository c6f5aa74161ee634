//! Which programs, options and groups the tables know: what a policy can name without a typo.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use crate::program::table::{self, Entry};

/// The names that the program tables know.
#[derive(Debug, Default)]
pub struct Catalogue {
    programs: BTreeMap<String, ProgramNames>,
    groups: BTreeSet<String>,
}

/// What a table says of one program or subcommand.
#[derive(Debug, Default)]
struct ProgramNames {
    options: BTreeSet<String>,
    /// Canonical names by their other spellings.
    spellings: BTreeMap<String, String>,
    /// The groups that it is in whatever its options say.
    groups: BTreeSet<String>,
}

impl Catalogue {
    /// The catalogue of this build.
    pub fn shared() -> &'static Self {
        static CATALOGUE: LazyLock<Catalogue> = LazyLock::new(|| {
            let mut catalogue = Catalogue::default();
            catalogue.groups.insert("install-other".to_owned());
            for (name, entry) in table::all() {
                catalogue.add(name, entry);
            }
            catalogue
        });
        &CATALOGUE
    }

    /// Whether this is a program, or a program and its subcommands (`git remote add`), that a table describes.
    pub fn has_program(&self, id: &str) -> bool {
        self.programs.contains_key(id)
    }

    /// Every program id.
    pub fn programs(&self) -> impl Iterator<Item = &str> {
        self.programs.keys().map(String::as_str)
    }

    /// The canonical names of the options that a program or one of its subcommands has.
    pub fn options<'a>(&'a self, id: &'a str) -> impl Iterator<Item = &'a str> {
        let within =
            move |program: &str| program.strip_prefix(id).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
        let programs = self.programs.iter().filter(move |(program, _)| within(program));
        programs.flat_map(|(_, known)| known.options.iter().map(String::as_str))
    }

    /// The same without those of its subcommands.
    pub fn own_options(&self, id: &str) -> impl Iterator<Item = &str> {
        self.programs.get(id).into_iter().flat_map(|known| known.options.iter().map(String::as_str))
    }

    /// The canonical name of an option that a program or one of its subcommands has under another spelling; none where one of them has
    /// this very name.
    pub fn respelt<'a>(&'a self, id: &'a str, spelling: &str) -> Option<&'a str> {
        if self.options(id).any(|option| option == spelling) {
            return None;
        }
        let within =
            |program: &str| program.strip_prefix(id).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
        let mut known = self.programs.iter().filter(|(program, _)| within(program)).map(|(_, known)| known);
        known.find_map(|known| known.spellings.get(spelling)).map(String::as_str)
    }

    /// The command groups that a program or a subcommand is in whatever its options say.
    pub fn groups_of(&self, id: &str) -> impl Iterator<Item = &str> {
        self.programs.get(id).into_iter().flat_map(|known| known.groups.iter().map(String::as_str))
    }

    /// Every command group that a table puts some invocation into.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().map(String::as_str)
    }

    fn add(&mut self, id: &str, entry: &Entry) {
        let groups = [Some(&entry.groups), entry.operand_groups.as_ref(), entry.code_groups.as_ref()];
        self.groups.extend(entry.ecosystem.iter().map(|ecosystem| format!("install-{ecosystem}")));
        let optional = entry.options.iter().map(|option| option.groups.as_ref());
        self.groups.extend(groups.into_iter().chain(optional).flatten().flatten().cloned());
        let options = entry.options.iter().map(|option| option.canonical().to_owned());
        let implied = entry.operand_flags.iter().map(|operand| operand.flag.clone());
        let respelt = entry.options.iter().flat_map(|option| {
            let others = option.forms.iter().filter(|form| form.as_str() != option.canonical());
            others.map(|form| (form.clone(), option.canonical().to_owned()))
        });
        let known = self.programs.entry(id.to_owned()).or_default();
        known.spellings.extend(respelt);
        known.options.extend(options.chain(implied));
        known.groups.extend(entry.groups.iter().cloned());
        for subcommand in &entry.subcommands {
            for name in subcommand.aliases.iter().chain([&subcommand.name]) {
                self.add(&format!("{id} {name}"), subcommand);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Catalogue;

    #[test]
    fn programs_options_and_groups_are_known() {
        let catalogue = Catalogue::shared();
        for (id, known) in [("git", true), ("git push", true), ("git remote add", true), ("git psuh", false)] {
            assert_eq!(catalogue.has_program(id), known, "{id}");
        }
        assert!(catalogue.options("git push").any(|option| option == "--force"));
        assert!(catalogue.options("git").any(|option| option == "--force"), "a subcommand's count for the program");
        assert!(catalogue.groups().any(|group| group == "read-only"));
        assert_eq!(catalogue.respelt("git push", "-f"), Some("--force"));
        assert_eq!(catalogue.respelt("git push", "--force"), None);
    }
}
