//! SQL as database clients take it.

/// SQL that a client can neither take for a command of its own nor a server for one to touch files or run programs.
/// Tables may have columns of the names that are refused; it is refused all the same.
pub(crate) fn sql(code: &str) -> bool {
    const REFUSED: [&str; 36] = [
        "attach",
        "benchmark",
        "connect",
        "connectby",
        "copy",
        "crosstab",
        "cursor_to_xml",
        "delimiter",
        "do",
        "dumpfile",
        "edit",
        "execute",
        "extension",
        "foreign",
        "fsdir",
        "function",
        "handler",
        "import",
        "infile",
        "install",
        "language",
        "load",
        "outfile",
        "pager",
        "plugin",
        "prepare",
        "procedure",
        "program",
        "server",
        "soname",
        "source",
        "system",
        "tee",
        "ts_stat",
        "uescape",
        "vacuum",
    ];
    const STEMS: [&str; 18] = [
        "dblink",
        "lo_",
        "load_",
        "lsmode",
        "pg_file",
        "pg_ls",
        "pg_read",
        "pg_stat_file",
        "pragma_",
        "query_to",
        "readfile",
        "sys_",
        "temp_store_dir",
        "data_store_dir",
        "trusted_",
        "writable_",
        "writefile",
        "zipfile",
    ];
    if shows_schema(code) {
        return true;
    }
    let code = code.to_ascii_lowercase();
    let mut words = code.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    let harmless = |word: &str| !REFUSED.contains(&word) && !STEMS.iter().any(|stem| word.starts_with(stem));
    let client = code.lines().any(|line| line.trim_start().starts_with(['.', '!', '#'])) || code.contains('\\');
    !client && words.all(harmless) && !code.contains("library") && !code.contains("preload")
}

/// A dot command of SQLite that only shows what the data base is like, or how results look.
fn shows_schema(command: &str) -> bool {
    const SHOWS: [&str; 9] =
        [".databases", ".dbinfo", ".dump", ".fullschema", ".headers", ".indexes", ".mode", ".schema", ".tables"];
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._ ".contains(letter);
    command.chars().all(plain) && command.split(' ').next().is_some_and(|name| SHOWS.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sql_statements() {
        for code in [
            "SELECT * FROM users WHERE id = 1",
            "select count(*) from attachments; drop table edited",
            "INSERT INTO t VALUES ('it''s', 'a@b.c')",
            "CREATE TABLE t (a, b)",
            "PRAGMA table_info(t)",
            "explain analyze select 1",
            "show tables",
            ".tables",
            ".schema users",
        ] {
            assert!(sql(code), "{code}");
        }
        for code in [
            ".shell rm x",
            ".schema |rm",
            ".tables\n.shell rm x",
            "select 1;\n .system rm x",
            "\\! rm x",
            "select 1; \\! rm x",
            "system rm x",
            "SELECT readfile('/etc/shadow')",
            "select \"WriteFile\"('a', 'b')",
            "select edit/**/('a', 'vi')",
            "ATTACH 'x' AS y",
            "vacuum into 'x'",
            "select load_extension('x')",
            "COPY t TO PROGRAM 'rm x'",
            "copy t from '/etc/passwd'",
            "select pg_read_file('/etc/passwd')",
            "select lo_import('/etc/passwd')",
            "select * into outfile '/tmp/x' from t",
            "select load_file('/etc/passwd')",
            "load data local infile 'x' into table t",
            "select * from fsdir('.')",
            "do $$ begin end $$",
            "pragma writable_schema=1",
            "set session_preload_libraries = 'x'",
            "select * from query_to_xml('x', true, true, '')",
            "SELECT U&'!0063' UESCAPE '!'",
            "create virtual table t using zipfile('x')",
        ] {
            assert!(!sql(code), "{code}");
        }
    }
}
