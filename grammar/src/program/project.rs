//! Each command of a toolchain says whether it runs code of the project it stands in.
//!
//! Policies ask about such code, so a table that forgot to say it would let it run unasked. A new table either has `project`, or its
//! commands are listed here.

use super::table::{Entry, each_file};

/// Commands of the group `toolchain` that run no code of a project: what they read there is data to them, or their words name what they run.
/// git's hooks and settings are not the project's: no session can write them.
const NONE: &str = "
    7z a, 7z d, 7z x, age, ar, as, atrm, bazel clean, bazel info, bazel mod, bazel shutdown, bg, bison,
    black, bundle list, cabal path, cargo clean, cargo fmt, cargo new, cargo tree, ccache, chcon, chmod,
    chown, conda run, coverage combine, coverage html, coverage report, cp, cpio, cpp, cpulimit,
    cross-env, cross-env-shell, csplit, ctags, daemonize, dbus-launch, dbus-run-session, dd, deno fmt,
    deno lint, direnv deny, dos2unix, dotnet new, ffmpeg, flex, flock, foreman run, gcc, gcc-ar, git
    add, git am, git apply, git archive, git bisect replay, git bisect run, git bisect start, git bundle
    create, git bundle verify, git checkout, git checkout-index, git cherry-pick, git clean, git commit,
    git commit-graph, git commit-tree, git config, git fast-export, git format-patch, git fsck, git gc,
    git hash-object, git init, git lfs checkout, git lfs track, git maintenance run, git merge, git
    merge-file, git merge-tree, git mv, git notes add, git pack-refs, git prune, git prune-packed, git
    read-tree, git rebase, git remote add, git remote remove, git repack, git replace, git rerere, git
    reset, git restore, git rm, git sparse-checkout set, git stash push, git submodule foreach, git
    submodule init, git switch, git symbolic-ref, git update-index, git update-ref, git
    update-server-info, git worktree add, git worktree move, git worktree prune, git worktree remove,
    git write-tree, go clean, go fix, go fmt, go list, go mod edit, go mod init, go work init, gofmt, goimports,
    golangci-lint cache, gpg, hg add, hg commit, htop, install, kill, killall, kotlinc, lckdo, ld,
    ldconfig, lerna list, link, ln, lockfile, logrotate, logsave, luac, lz4, lzop, meson configure, meson
    format, mkdir, mkdocs new, mkfifo, mksquashfs, mktemp, mv, nohup,  npm pkg set, objcopy,
    openssl ecparam, openssl enc, openssl genpkey, openssl genrsa, openssl pkcs12, openssl pkey, openssl
    req, parallel, patch, pax, pdfseparate, pdftocairo, pdftoppm, pdftotext, pdfunite, perf record, pixi init, pkill,
    pre-commit install, protoc, qpdf, ranlib, rbenv exec, renice, rlwrap, rm, rmdir, ruff analyze, ruff
    check, ruff clean, ruff format, rustc, rustdoc, rustfmt, rustup run, s6-setlock, script, sd, sem,
    setfacl, setlock, setsid, shred, split, sponge, sqlite3, ssh-agent, ssh-keygen, start-stop-daemon,
    strip, svn add, swiftc, systemd-inhibit, tar, tcc, tee, terraform fmt, tmux kill-session, tmux
    load-buffer, tmux save-buffer, touch, trash-put, truncate, tsc, tsp, twine check, unlink, unrar x,
    unsquashfs, unzip, uudecode, valgrind, virtualenv, xcrun, xvfb-run, zip, zstd
";

/// `around`: whether a table around this one says it for all of its subcommands.
fn unsaid(entry: &Entry, words: &str, around: bool, found: &mut Vec<String>) {
    let is_tool = entry.groups.iter().any(|group| group == "toolchain");
    let is_said = around || !entry.project.is_empty();
    if is_tool && !is_said && entry.subcommands.is_empty() && entry.opaque.is_none() {
        found.push(words.to_owned());
    }
    for subcommand in &entry.subcommands {
        unsaid(subcommand, &format!("{words} {}", subcommand.name), is_said, found);
    }
}

#[test]
fn each_tool_says_whether_it_runs_code_of_the_project() {
    let mut found = Vec::new();
    for (file, entry) in each_file() {
        match entry {
            Ok(entry) => unsaid(&entry, &entry.name, false, &mut found),
            Err(error) => found.push(format!("{file}: {error}")),
        }
    }
    found.sort();
    let listed: Vec<String> =
        NONE.split(',').map(|words| words.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(found, listed);
}
