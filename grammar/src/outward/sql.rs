//! What a text of SQL does to the data base that gets it.
//!
//! Clients and servers of many makers read the same text in ways of their own, so this file reads what all of them read alike and calls the rest
//! unknown: a string with a backslash, a comment that MySQL runs, a `#`. A statement is known by its first word. One that reads may call the functions
//! that [`READS`] lists; any other function may do anything. A data base that gives its own function the name of one of these is not seen through.

use std::collections::BTreeSet;

use crate::outward_facts::OutwardEffect;

/// What the statements of a text do together; none: this file cannot tell.
pub(super) fn effects(text: &str) -> Option<BTreeSet<OutwardEffect>> {
    let text = text.trim();
    if let Some(command) = text.strip_prefix('\\') {
        return describes(command).then(|| BTreeSet::from([OutwardEffect::Observe]));
    }
    if text.starts_with('.') {
        return lists(text).then(|| BTreeSet::from([OutwardEffect::Observe]));
    }
    // The end of a statement at mysql's prompt, which shows its rows one below the other.
    let text = text.strip_suffix("\\G").or_else(|| text.strip_suffix("\\g")).unwrap_or(text);
    let tokens = tokens(text)?;
    let mut effects = BTreeSet::new();
    for statement in tokens.split(|token| *token == Token::End).filter(|statement| !statement.is_empty()) {
        effects.extend(of_statement(statement)?);
    }
    if effects.is_empty() {
        effects.insert(OutwardEffect::Observe);
    }
    Some(effects)
}

/// What the statements of a text surely do of which only the beginning is known.
pub(super) fn begun(text: &str) -> BTreeSet<OutwardEffect> {
    let mut text = text.trim_start();
    let tokens = loop {
        match tokens(text) {
            Some(tokens) => break tokens,
            // It may end within a string.
            None => {
                text = text
                    .rfind(['\'', '"', '`', '/', '-', '\\', '$', '#'])
                    .and_then(|at| text.get(..at))
                    .unwrap_or_default()
            }
        }
    };
    let statements = tokens.split(|token| *token == Token::End).filter(|statement| !statement.is_empty());
    let mut effects: BTreeSet<_> = statements.filter_map(of_statement).flatten().collect();
    effects.remove(&OutwardEffect::Observe);
    effects
}

/// Whether a command of psql's own only shows what the data base is like: `d+ users`, `l`, `conninfo`.
fn describes(command: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._* +?\"".contains(letter);
    let (name, _) = command.split_once(' ').unwrap_or((command, ""));
    let name = name.trim_end_matches('+');
    let shows = name.starts_with('d') && name.bytes().all(|byte| byte.is_ascii_alphabetic()) && name != "drds";
    command.chars().all(plain) && (shows || ["l", "z", "sf", "sv", "conninfo", "h", "?", "timing", "x"].contains(&name))
}

/// Whether a dot command of sqlite3 only shows what the data base is like, or how results look.
fn lists(command: &str) -> bool {
    const SHOWS: [&str; 14] = [
        ".databases",
        ".dbinfo",
        ".dump",
        ".fullschema",
        ".headers",
        ".help",
        ".indexes",
        ".indices",
        ".mode",
        ".schema",
        ".show",
        ".tables",
        ".version",
        ".width",
    ];
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "._% -".contains(letter);
    command.chars().all(plain) && command.split(' ').next().is_some_and(|name| SHOWS.contains(&name))
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A word, in small letters.
    Word(String),
    /// A name in quotes, or a string in double ones.
    Quoted(String),
    Literal,
    Open,
    Dot,
    /// `;`
    End,
    Other,
}

impl Token {
    fn word(&self) -> Option<&str> {
        match self {
            Self::Word(word) => Some(word),
            _ => None,
        }
    }

    fn is(&self, word: &str) -> bool {
        self.word() == Some(word)
    }
}

/// The tokens of a text; none: servers differ about where a string or a comment ends.
fn tokens(text: &str) -> Option<Vec<Token>> {
    // sqlcmd takes such a line for a command of its own (`!! rm x`, `:r file`), and `GO` for the end of a batch, behind which a procedure needs no word
    // in front. CQL has comments behind `//`, and in Transact-SQL `]]` does not end a name.
    let commands =
        |line: &str| line.starts_with(['!', ':']) || line.get(..2).is_some_and(|word| word.eq_ignore_ascii_case("go"));
    if text.lines().any(|line| commands(line.trim_start())) || text.contains("//") || text.contains("]]") {
        return None;
    }
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let behind = rest.get(first.len_utf8()..)?;
        if first.is_whitespace() {
            rest = behind;
            continue;
        }
        let (token, left) = match first {
            '-' if behind.starts_with('-') => {
                let comment = behind.get(1..)?;
                // MySQL takes `--x` for two signs.
                if comment.starts_with(|letter: char| !letter.is_whitespace()) {
                    return None;
                }
                rest = comment.split_once('\n').map_or("", |(_, left)| left);
                continue;
            }
            '/' if behind.starts_with('*') => {
                let (comment, left) = behind.get(1..)?.split_once("*/")?;
                // MySQL runs what stands in `/*! */`, and PostgreSQL nests comments.
                if comment.contains("/*") || comment.starts_with(['!', 'M']) {
                    return None;
                }
                rest = left;
                continue;
            }
            '\'' => (Token::Literal, quoted(behind, '\'')?.1),
            '"' | '`' => {
                let (name, left) = quoted(behind, first)?;
                (Token::Quoted(name.to_lowercase()), left)
            }
            '[' => {
                let inside = behind.split(']').next().unwrap_or_default();
                if inside.contains(['\'', '"', '`']) {
                    return None;
                }
                (Token::Other, behind)
            }
            // A comment in MySQL, an operator elsewhere.
            '#' | '\\' => return None,
            '$' if !behind.starts_with(|letter: char| letter.is_ascii_digit()) => return None,
            ';' => (Token::End, behind),
            '(' => (Token::Open, behind),
            '.' => (Token::Dot, behind),
            letter if letter.is_alphabetic() || letter == '_' => {
                let end = rest.find(|letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == '$'));
                let (word, left) = rest.split_at(end.unwrap_or(rest.len()));
                (Token::Word(word.to_lowercase()), left)
            }
            digit if digit.is_ascii_digit() => {
                let end = behind.find(|letter: char| !(letter.is_ascii_alphanumeric() || letter == '.'));
                (Token::Literal, behind.get(end.unwrap_or(behind.len())..)?)
            }
            _ => (Token::Other, behind),
        };
        tokens.push(token);
        rest = left;
    }
    Some(tokens)
}

/// What stands before the closing quote, and what behind it. A quote twice is one of the text.
fn quoted(text: &str, quote: char) -> Option<(&str, &str)> {
    let mut from = 0;
    loop {
        let end = from + text.get(from..)?.find(quote)?;
        let behind = text.get(end + 1..)?;
        if !behind.starts_with(quote) {
            let inside = text.get(..end)?;
            return (!inside.contains('\\')).then_some((inside, behind));
        }
        from = end + 2;
    }
}

fn of_statement(statement: &[Token]) -> Option<BTreeSet<OutwardEffect>> {
    use OutwardEffect::{Change, Create, Credential, Destroy, Execute, Observe};
    let has = |words: &[&str]| statement.iter().any(|token| token.word().is_some_and(|word| words.contains(&word)));
    let second = statement.get(1).and_then(Token::word).unwrap_or_default();
    let about_rights = has(&["user", "role", "login", "password", "owner", "privileges", "policy", "credential"]);
    let mut effects = BTreeSet::new();
    match statement.first()? {
        Token::Open => return reads(statement),
        Token::Word(first) => match first.as_str() {
            "select" | "values" | "table" | "with" | "use" | "begin" | "commit" | "end" | "rollback" | "savepoint"
            | "release" | "listen" | "unlisten" => return reads(statement),
            "start" if second == "transaction" => return reads(statement),
            "show" => {
                if has(&["create"]) && about_rights {
                    effects.insert(Credential);
                }
                effects.insert(Observe);
            }
            "explain" | "describe" | "desc" => return of_plan(statement),
            "set" if has(&["password"]) => {
                effects.insert(Credential);
            }
            "set" if has(&["global", "persist", "persist_only"]) => {
                effects.insert(Change);
            }
            "set" => return reads(statement),
            "pragma" => {
                effects.insert(if shows(statement) { Observe } else { Change });
            }
            "copy" => return of_copy(statement),
            "insert" | "update" | "upsert" | "replace" | "merge" | "alter" | "comment" | "rename" | "reindex"
            | "vacuum" | "analyze" | "optimize" | "refresh" | "lock" | "unlock" | "flush" | "notify" | "checkpoint"
            | "repair" | "cluster" => {
                effects.insert(Change);
                if ["alter", "rename"].contains(&first.as_str()) && about_rights {
                    effects.insert(Credential);
                }
            }
            "create" => {
                effects.insert(Create);
                let code = ["function", "procedure", "trigger", "extension", "event", "language", "server"];
                if has(&code) || has(&["subscription", "aggregate", "rule", "plugin"]) {
                    effects.insert(Execute);
                }
                if about_rights {
                    effects.insert(Credential);
                }
                if second == "or" {
                    effects.insert(Change);
                }
            }
            "delete" | "drop" | "truncate" | "purge" | "kill" | "shutdown" => {
                effects.insert(Destroy);
                if first == "drop" && about_rights {
                    effects.insert(Credential);
                }
            }
            "grant" | "revoke" | "reassign" | "deny" => {
                effects.insert(Credential);
            }
            _ => return None,
        },
        _ => return None,
    }
    Some(effects)
}

/// `EXPLAIN` runs the statement only with `ANALYZE`.
fn of_plan(statement: &[Token]) -> Option<BTreeSet<OutwardEffect>> {
    const BEGIN: [&str; 12] = [
        "select", "with", "values", "table", "insert", "update", "delete", "replace", "merge", "create", "execute",
        "call",
    ];
    let begin = statement.iter().position(|token| token.word().is_some_and(|word| BEGIN.contains(&word)));
    let (options, rest) = statement.split_at(begin.unwrap_or(statement.len()));
    if options.iter().any(|token| token.is("analyze") || token.is("analyse")) {
        return of_statement(rest);
    }
    calls_what_reads(rest).then(|| BTreeSet::from([OutwardEffect::Observe]))
}

/// `COPY … TO STDOUT` shows, `COPY … FROM STDIN` changes; files and programs of the server are unknown.
fn of_copy(statement: &[Token]) -> Option<BTreeSet<OutwardEffect>> {
    let has = |word: &str| statement.iter().any(|token| token.is(word));
    let opens = statement.windows(2).any(|pair| match pair {
        [before, Token::Literal] => before.is("to") || before.is("from"),
        _ => false,
    });
    if has("program") || opens {
        return None;
    }
    match (has("stdout"), has("stdin")) {
        (true, false) => reads(statement.get(1..)?),
        (false, true) => Some(BTreeSet::from([OutwardEffect::Change])),
        _ => None,
    }
}

/// A pragma of SQLite that tells something.
fn shows(statement: &[Token]) -> bool {
    const OF: [&str; 11] = [
        "table_info",
        "table_xinfo",
        "index_list",
        "index_info",
        "index_xinfo",
        "foreign_key_list",
        "foreign_key_check",
        "integrity_check",
        "quick_check",
        "table_list",
        "database_list",
    ];
    const ALONE: [&str; 10] = [
        "compile_options",
        "function_list",
        "collation_list",
        "user_version",
        "schema_version",
        "page_count",
        "page_size",
        "freelist_count",
        "encoding",
        "journal_mode",
    ];
    let name = statement.get(1).and_then(Token::word).unwrap_or_default();
    OF.contains(&name) || ALONE.contains(&name) && statement.len() == 2
}

/// A statement that reads, unless a word in it says otherwise: `WITH gone AS (DELETE …) SELECT …`, `SELECT … INTO t`.
fn reads(statement: &[Token]) -> Option<BTreeSet<OutwardEffect>> {
    const CHANGES: [&str; 28] = [
        "alter",
        "backup",
        "bulk",
        "call",
        "checkpoint",
        "create",
        "dbcc",
        "deny",
        "disable",
        "dumpfile",
        "enable",
        "exec",
        "execute",
        "insert",
        "into",
        "lock",
        "merge",
        "outfile",
        "raiserror",
        "reconfigure",
        "restore",
        "revert",
        "setuser",
        "update",
        "updatetext",
        "upsert",
        "waitfor",
        "writetext",
    ];
    const REMOVES: [&str; 5] = ["delete", "drop", "truncate", "kill", "shutdown"];
    const SECRET: [&str; 6] =
        ["pg_shadow", "pg_authid", "pg_user_mapping", "pg_user_mappings", "sql_logins", "system_auth"];
    if !calls_what_reads(statement) {
        return None;
    }
    let mut effects = BTreeSet::from([OutwardEffect::Observe]);
    for (at, token) in statement.iter().enumerate() {
        let (name, quoted) = match token {
            Token::Word(word) => (word.as_str(), false),
            Token::Quoted(name) => (name.as_str(), true),
            _ => continue,
        };
        let of = |schema: &str| {
            let before = at.checked_sub(2).and_then(|at| statement.get(at..at + 2));
            before.is_some_and(
                |before| matches!(before, [Token::Word(name) | Token::Quoted(name), Token::Dot] if name == schema),
            )
        };
        if SECRET.contains(&name) || name == "user" && of("mysql") {
            effects.insert(OutwardEffect::Credential);
        }
        // `INSERT(text, 1, 2, 'x')` is a function of MySQL's.
        let calls = statement.get(at + 1) == Some(&Token::Open) && name == "insert";
        if !quoted && !calls && CHANGES.contains(&name) {
            effects.insert(OutwardEffect::Change);
        }
        if !quoted && ["grant", "revoke"].contains(&name) {
            effects.insert(OutwardEffect::Credential);
        }
        if !quoted && REMOVES.contains(&name) {
            effects.insert(OutwardEffect::Destroy);
        }
    }
    Some(effects)
}

/// Whether each function that is called is one that only reads.
fn calls_what_reads(statement: &[Token]) -> bool {
    statement.windows(2).enumerate().all(|(at, pair)| match pair {
        [Token::Word(name), Token::Open] => {
            let qualified = at.checked_sub(1).and_then(|before| statement.get(before)) == Some(&Token::Dot);
            BEFORE_PARENTHESES.contains(&name.as_str()) || !qualified && READS.contains(&name.as_str())
        }
        [Token::Quoted(_), Token::Open] => false,
        _ => true,
    })
}

/// Words of the language before a parenthesis, and types.
const BEFORE_PARENTHESES: [&str; 62] = [
    "all",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "between",
    "by",
    "case",
    "char",
    "character",
    "copy",
    "cube",
    "decimal",
    "distinct",
    "else",
    "except",
    "exists",
    "explain",
    "filter",
    "float",
    "from",
    "group",
    "grouping",
    "having",
    "ilike",
    "in",
    "intersect",
    "interval",
    "is",
    "join",
    "lateral",
    "like",
    "limit",
    "materialized",
    "not",
    "numeric",
    "nvarchar",
    "offset",
    "on",
    "or",
    "order",
    "over",
    "partition",
    "returning",
    "rollup",
    "row",
    "select",
    "sets",
    "some",
    "then",
    "time",
    "timestamp",
    "to",
    "union",
    "using",
    "values",
    "varchar",
    "when",
    "where",
    "window",
    "within",
];

/// Functions of the standard and of the common servers that read their arguments, the rows and the server's state, and do nothing else.
const READS: [&str; 266] = [
    "abs",
    "age",
    "any_value",
    "approx_count_distinct",
    "array_agg",
    "array_length",
    "array_position",
    "array_to_json",
    "array_to_string",
    "ascii",
    "avg",
    "bit_and",
    "bit_length",
    "bit_or",
    "bool_and",
    "bool_or",
    "btrim",
    "cardinality",
    "cast",
    "ceil",
    "ceiling",
    "char_length",
    "character_length",
    "charindex",
    "coalesce",
    "col_description",
    "concat",
    "concat_ws",
    "connection_id",
    "convert",
    "corr",
    "count",
    "count_big",
    "countif",
    "cume_dist",
    "curdate",
    "current_catalog",
    "current_database",
    "current_date",
    "current_schema",
    "current_schemas",
    "current_setting",
    "current_time",
    "current_timestamp",
    "current_user",
    "curtime",
    "database",
    "datalength",
    "date",
    "date_add",
    "date_bin",
    "date_diff",
    "date_format",
    "date_part",
    "date_sub",
    "date_trunc",
    "dateadd",
    "datediff",
    "datename",
    "datepart",
    "datetime",
    "day",
    "dayname",
    "dayofmonth",
    "dayofweek",
    "dayofyear",
    "db_name",
    "decode",
    "dense_rank",
    "div",
    "encode",
    "every",
    "exp",
    "extract",
    "field",
    "find_in_set",
    "first_value",
    "floor",
    "format",
    "format_type",
    "found_rows",
    "from_unixtime",
    "generate_series",
    "getdate",
    "glob",
    "greatest",
    "group_concat",
    "has_column_privilege",
    "has_database_privilege",
    "has_schema_privilege",
    "has_table_privilege",
    "hex",
    "hour",
    "if",
    "ifnull",
    "iif",
    "inet_client_addr",
    "inet_ntoa",
    "inet_server_addr",
    "initcap",
    "insert",
    "instr",
    "isnull",
    "json",
    "json_agg",
    "json_array",
    "json_array_elements",
    "json_array_length",
    "json_arrayagg",
    "json_build_array",
    "json_build_object",
    "json_each",
    "json_extract",
    "json_extract_path_text",
    "json_keys",
    "json_length",
    "json_object",
    "json_object_agg",
    "json_object_keys",
    "json_query",
    "json_type",
    "json_typeof",
    "json_unquote",
    "json_valid",
    "json_value",
    "jsonb_agg",
    "jsonb_array_elements",
    "jsonb_array_length",
    "jsonb_build_object",
    "jsonb_each",
    "jsonb_object_keys",
    "jsonb_path_query",
    "jsonb_pretty",
    "jsonb_typeof",
    "julianday",
    "lag",
    "last_day",
    "last_value",
    "lcase",
    "lead",
    "least",
    "left",
    "len",
    "length",
    "likely",
    "ln",
    "localtimestamp",
    "locate",
    "log",
    "log10",
    "lower",
    "lpad",
    "ltrim",
    "max",
    "md5",
    "mid",
    "min",
    "minute",
    "mod",
    "month",
    "monthname",
    "now",
    "nth_value",
    "ntile",
    "nullif",
    "nvl",
    "obj_description",
    "octet_length",
    "overlay",
    "percent_rank",
    "percentile_cont",
    "percentile_disc",
    "pg_backend_pid",
    "pg_blocking_pids",
    "pg_column_size",
    "pg_current_wal_lsn",
    "pg_database_size",
    "pg_get_constraintdef",
    "pg_get_expr",
    "pg_get_functiondef",
    "pg_get_indexdef",
    "pg_get_userbyid",
    "pg_get_viewdef",
    "pg_indexes_size",
    "pg_is_in_recovery",
    "pg_last_wal_receive_lsn",
    "pg_last_wal_replay_lsn",
    "pg_last_xact_replay_timestamp",
    "pg_postmaster_start_time",
    "pg_relation_size",
    "pg_size_pretty",
    "pg_table_size",
    "pg_total_relation_size",
    "pg_typeof",
    "pg_wal_lsn_diff",
    "position",
    "power",
    "printf",
    "quarter",
    "quote",
    "rank",
    "regexp_count",
    "regexp_match",
    "regexp_matches",
    "regexp_replace",
    "regexp_substr",
    "repeat",
    "replace",
    "reverse",
    "right",
    "round",
    "row_number",
    "row_to_json",
    "rpad",
    "rtrim",
    "sign",
    "split_part",
    "sqrt",
    "std",
    "stddev",
    "stddev_pop",
    "stddev_samp",
    "str_to_date",
    "strftime",
    "string_agg",
    "string_to_array",
    "strpos",
    "substr",
    "substring",
    "substring_index",
    "sum",
    "time_bucket",
    "timediff",
    "timestampdiff",
    "to_char",
    "to_date",
    "to_json",
    "to_jsonb",
    "to_number",
    "to_regclass",
    "to_timestamp",
    "total",
    "translate",
    "trim",
    "trunc",
    "typeof",
    "ucase",
    "unhex",
    "unicode",
    "unistr",
    "unix_timestamp",
    "unixepoch",
    "unnest",
    "upper",
    "user",
    "utc_timestamp",
    "uuid_to_bin",
    "var_pop",
    "var_samp",
    "variance",
    "version",
    "week",
    "weekday",
    "width_bucket",
    "year",
    "yearweek",
];
