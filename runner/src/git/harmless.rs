//! The settings of a repository of which git neither runs anything nor sends anything elsewhere.
//!
//! A list of what is allowed: a setting that is missing here is refused, and nothing worse. git-config(1) of git 2.47 describes each.
//! The tables of programs list the same settings for `git config`, so that a verdict on the text agrees with what happens.

/// Settings of any value, by section and name in small letters: a `*` stands for what is between, or for all names of a section.
pub(super) const HARMLESS: &[&str] = &[
    "add.ignoreerrors",
    "advice.*",
    "am.keepcr",
    "am.threeway",
    "apply.ignorewhitespace",
    "apply.whitespace",
    "author.email",
    "author.name",
    "blame.blankboundary",
    "blame.coloring",
    "blame.date",
    "blame.ignorerevsfile",
    "blame.markignoredlines",
    "blame.markunblamablelines",
    "blame.showemail",
    "blame.showroot",
    "branch.*.description",
    "branch.*.merge",
    "branch.*.rebase",
    "branch.autosetupmerge",
    "branch.autosetuprebase",
    "branch.sort",
    "checkout.guess",
    "checkout.workers",
    "color.*",
    "column.*",
    "commit.cleanup",
    "commit.status",
    "commit.verbose",
    "committer.email",
    "committer.name",
    "core.abbrev",
    "core.attributesfile",
    "core.autocrlf",
    "core.bigfilethreshold",
    "core.checkstat",
    "core.commentchar",
    "core.commentstring",
    "core.commitgraph",
    "core.compression",
    "core.deltabasecachelimit",
    "core.eol",
    "core.excludesfile",
    "core.filemode",
    "core.ignorecase",
    "core.logallrefupdates",
    "core.longpaths",
    "core.loosecompression",
    "core.multipackindex",
    "core.packedgitlimit",
    "core.precomposeunicode",
    "core.preloadindex",
    "core.quotepath",
    "core.safecrlf",
    "core.sparsecheckout",
    "core.sparsecheckoutcone",
    "core.splitindex",
    "core.symlinks",
    "core.trustctime",
    "core.untrackedcache",
    "core.warnambiguousrefs",
    "core.whitespace",
    "diff.algorithm",
    "diff.autorefreshindex",
    "diff.colormoved",
    "diff.colormovedws",
    "diff.context",
    "diff.dirstat",
    "diff.dstprefix",
    "diff.ignoresubmodules",
    "diff.indentheuristic",
    "diff.interhunkcontext",
    "diff.mnemonicprefix",
    "diff.noprefix",
    "diff.relative",
    "diff.renamelimit",
    "diff.renames",
    "diff.srcprefix",
    "diff.statgraphwidth",
    "diff.statnamewidth",
    "diff.submodule",
    "diff.suppressblankempty",
    "diff.wordregex",
    "diff.wserrorhighlight",
    "feature.*",
    "fetch.output",
    "fetch.parallel",
    "fetch.prune",
    "fetch.prunetags",
    "fetch.recursesubmodules",
    "fetch.showforcedupdates",
    "fetch.writecommitgraph",
    "format.coverletter",
    "format.mboxrd",
    "format.noprefix",
    "format.numbered",
    "format.signoff",
    "format.subjectprefix",
    "format.thread",
    "gc.aggressivedepth",
    "gc.aggressivewindow",
    "gc.auto",
    "gc.autodetach",
    "gc.autopacklimit",
    "gc.packrefs",
    "gc.writecommitgraph",
    "grep.*",
    "http.lowspeedlimit",
    "http.lowspeedtime",
    "http.maxrequests",
    "http.postbuffer",
    "http.version",
    "i18n.commitencoding",
    "i18n.logoutputencoding",
    "index.*",
    "init.defaultbranch",
    "interactive.singlekey",
    "log.abbrevcommit",
    "log.date",
    "log.decorate",
    "log.diffmerges",
    "log.follow",
    "log.graphcolors",
    "log.mailmap",
    "log.showroot",
    "maintenance.*.enabled",
    "maintenance.*.schedule",
    "maintenance.auto",
    "maintenance.autodetach",
    "maintenance.strategy",
    "merge.autostash",
    "merge.branchdesc",
    "merge.conflictstyle",
    "merge.directoryrenames",
    "merge.ff",
    "merge.log",
    "merge.renamelimit",
    "merge.renames",
    "merge.renormalize",
    "merge.stat",
    "merge.verbosity",
    "mergetool.keepbackup",
    "pack.compression",
    "pack.depth",
    "pack.threads",
    "pack.window",
    "pack.windowmemory",
    "protocol.version",
    "pull.ff",
    "pull.rebase",
    "push.autosetupremote",
    "push.followtags",
    "push.useforceifincludes",
    "rebase.abbreviatecommands",
    "rebase.autosquash",
    "rebase.autostash",
    "rebase.backend",
    "rebase.forkpoint",
    "rebase.missingcommitscheck",
    "rebase.rebasemerges",
    "rebase.reschedulefailedexec",
    "rebase.stat",
    "rebase.updaterefs",
    "receive.denycurrentbranch",
    "rerere.*",
    "revert.reference",
    "stash.showincludeuntracked",
    "stash.showpatch",
    "stash.showstat",
    "status.*",
    "submodule.*.active",
    "submodule.*.branch",
    "submodule.*.fetchrecursesubmodules",
    "submodule.*.ignore",
    "submodule.active",
    "submodule.fetchjobs",
    "tag.sort",
    "uploadpack.allowanysha1inwant",
    "uploadpack.allowfilter",
    "user.email",
    "user.name",
    "user.useconfigonly",
    "versionsort.*",
    "worktree.guessremote",
];

/// Whether the list has a setting. `general`: its name with `*` for what stands between the section and the last part.
pub(super) fn is_harmless(general: &str) -> bool {
    let section = general.split('.').next().unwrap_or_default();
    HARMLESS.binary_search(&general).is_ok() || HARMLESS.binary_search(&format!("{section}.*").as_str()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_sorted_and_has_each_once() {
        assert!(HARMLESS.is_sorted_by(|one, other| one < other));
        for (name, listed) in [
            ("user.name", true),
            ("advice.detachedhead", true),
            ("color.*.added", true),
            ("core.hookspath", false),
            ("pager.log", false),
            ("*", false),
        ] {
            assert_eq!(is_harmless(name), listed, "{name}");
        }
    }

    /// What a session may set is not refused by its text, and what runs something is.
    #[test]
    fn the_text_of_a_command_is_judged_alike() {
        let writes_settings = |name: &str| {
            let script = format!("git config {name} x");
            let inventory = palisade_grammar::inventory(script.as_bytes());
            let effects = inventory.commands().iter().flat_map(|command| &command.effects);
            // Of what is weighed the value counts, too.
            effects.into_iter().any(|effect| effect.target.value.literal() == Some(".git/config") && !effect.weighed)
        };
        for name in HARMLESS {
            let name = name.strip_suffix(".*").map_or_else(|| (*name).to_owned(), |section| format!("{section}.x"));
            assert!(!writes_settings(&name.replace('*', "x")), "{name}");
        }
        for name in ["core.hooksPath", "core.fsmonitor", "credential.helper", "diff.external", "include.path"] {
            assert!(writes_settings(name), "{name}");
        }
    }
}
