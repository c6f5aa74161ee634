//! What a text of JavaScript does to the MongoDB that a shell gives it to.
//!
//! Known are statements of one form: calls that follow one another from `db`, `rs` or `sh`, with values alone as arguments. Anything else is a program,
//! and unknown.

use std::collections::BTreeSet;

use crate::outward_facts::OutwardEffect;

/// What the statements of a text do together; none: this file cannot tell.
pub(super) fn effects(text: &str) -> Option<BTreeSet<OutwardEffect>> {
    let mut effects = BTreeSet::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let left = match rest.strip_prefix("show ") {
            Some(what) => {
                let (what, left) = what.split_once([';', '\n']).unwrap_or((what, ""));
                if !["dbs", "databases", "collections", "tables", "profile", "logs"].contains(&what.trim()) {
                    return None;
                }
                effects.insert(OutwardEffect::Observe);
                left
            }
            None => statement(rest, &mut effects)?,
        };
        rest = left.trim_start_matches(|letter: char| letter.is_whitespace() || letter == ';');
    }
    (!effects.is_empty()).then_some(effects)
}

/// What the statements of a text surely do of which only the beginning is known.
pub(super) fn begun(text: &str) -> BTreeSet<OutwardEffect> {
    let calls = text.split('.').filter_map(|part| part.split_once('(')).filter_map(|(method, _)| of_call(method, ""));
    let mut effects: BTreeSet<_> = calls.flatten().collect();
    effects.remove(&OutwardEffect::Observe);
    effects
}

/// Reads one statement, and returns what stands behind it.
fn statement<'t>(text: &'t str, effects: &mut BTreeSet<OutwardEffect>) -> Option<&'t str> {
    const PRINTS: [&str; 5] = ["print(", "printjson(", "JSON.stringify(", "EJSON.stringify(", "tojson("];
    if let Some(inside) = PRINTS.iter().find_map(|name| text.strip_prefix(name)) {
        let rest = statement(inside.trim_start(), effects)?.trim_start();
        // How it is printed: `JSON.stringify(x, null, 2)`.
        let rest = rest.trim_start_matches(|letter: char| letter.is_ascii_digit() || ", nul".contains(letter));
        return rest.strip_prefix(')');
    }
    let (root, mut rest) = name(text)?;
    if !["db", "rs", "sh"].contains(&root) {
        return None;
    }
    let mut called = false;
    if text.split(';').next().is_some_and(|statement| statement.contains("system.users")) {
        effects.insert(OutwardEffect::Credential);
    }
    loop {
        let left = rest.trim_start();
        if let Some(behind) = left.strip_prefix('.') {
            rest = name(behind.trim_start())?.1;
            if let Some(inside) = rest.strip_prefix('(') {
                let (arguments, behind) = arguments(inside)?;
                effects.extend(of_call(name(left.get(1..)?.trim_start())?.0, arguments)?);
                called = true;
                rest = behind;
            }
        } else if let Some(inside) = left.strip_prefix("[\"").or_else(|| left.strip_prefix("['")) {
            let end = inside.find(['"', '\''])?;
            rest = inside.get(end + 1..)?.strip_prefix(']')?;
        } else {
            let ends = left.is_empty() || left.starts_with([';', ')', ',']) || rest.starts_with('\n');
            return (called && ends).then_some(left);
        }
    }
}

/// The name at the beginning of a text, and what stands behind it.
fn name(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|letter: char| !(letter.is_alphanumeric() || "_$".contains(letter))).unwrap_or(text.len());
    text.split_at_checked(end).filter(|(name, _)| !name.is_empty())
}

/// What stands up to the closing parenthesis, if it is values alone, and what stands behind it.
fn arguments(text: &str) -> Option<(&str, &str)> {
    const MAKES_A_VALUE: [&str; 13] = [
        "ObjectId",
        "ISODate",
        "Date",
        "NumberLong",
        "NumberInt",
        "NumberDecimal",
        "Long",
        "Int32",
        "Decimal128",
        "UUID",
        "BinData",
        "Timestamp",
        "RegExp",
    ];
    let mut depth = 0_usize;
    let mut word = "";
    let mut at = 0;
    while let Some(letter) = text.get(at..)?.chars().next() {
        match letter {
            '"' | '\'' => {
                let inside = text.get(at + 1..)?;
                let end = inside.find(letter)?;
                if inside.get(..end)?.contains('\\') {
                    return None;
                }
                at += end + 2;
                word = "";
                continue;
            }
            '(' if !MAKES_A_VALUE.contains(&word) => return None,
            '(' | '[' | '{' => depth += 1,
            ')' if depth == 0 => return Some((text.get(..at)?, text.get(at + 1..)?)),
            ')' | ']' | '}' => depth = depth.checked_sub(1)?,
            // In a regular expression or a comment, a quote begins no string.
            '`' | '=' | ';' | '+' | '?' | '/' => return None,
            _ => {}
        }
        if letter.is_alphanumeric() || letter == '_' || letter == '$' {
            word = name(text.get(at..)?)?.0;
            if ["function", "eval", "load", "async", "await"].contains(&word) {
                return None;
            }
            at += word.len();
        } else {
            if !letter.is_whitespace() {
                word = "";
            }
            at += letter.len_utf8();
        }
    }
    None
}

/// Whether a command for the server is one that only asks.
fn asks(command: &str) -> bool {
    const ASKS: [&str; 14] = [
        "ping",
        "listDatabases",
        "getParameter",
        "serverStatus",
        "buildInfo",
        "hello",
        "isMaster",
        "replSetGetStatus",
        "dbStats",
        "collStats",
        "listCollections",
        "listIndexes",
        "hostInfo",
        "connectionStatus",
    ];
    let first = command.trim().trim_start_matches('{').trim_start().trim_matches(['"', '\'']);
    name(first).map_or(ASKS.contains(&first), |(name, _)| ASKS.contains(&name))
}

/// What a method does with these arguments.
fn of_call(method: &str, arguments: &str) -> Option<BTreeSet<OutwardEffect>> {
    use OutwardEffect::{Change, Create, Credential, Destroy, Observe};
    // Stages and operators that write, or run a function at the server.
    let writes = ["$out", "$merge"].iter().any(|stage| arguments.contains(stage));
    if ["$where", "$function", "$accumulator"].iter().any(|operator| arguments.contains(operator)) {
        return None;
    }
    let effects: &[OutwardEffect] = match method {
        "adminCommand" | "runCommand" if asks(arguments) => &[Observe],
        "aggregate" if writes => &[Observe, Change, Destroy],
        "find"
        | "findOne"
        | "count"
        | "countDocuments"
        | "estimatedDocumentCount"
        | "distinct"
        | "aggregate"
        | "getIndexes"
        | "stats"
        | "explain"
        | "limit"
        | "skip"
        | "sort"
        | "toArray"
        | "pretty"
        | "size"
        | "itcount"
        | "hasNext"
        | "next"
        | "getCollectionNames"
        | "getCollectionInfos"
        | "getCollection"
        | "getSiblingDB"
        | "version"
        | "serverStatus"
        | "currentOp"
        | "hostInfo"
        | "getName"
        | "getMongo"
        | "isMaster"
        | "hello"
        | "status"
        | "conf"
        | "config"
        | "printReplicationInfo"
        | "printSecondaryReplicationInfo"
        | "totalSize"
        | "storageSize"
        | "dataSize"
        | "totalIndexSize"
        | "latencyStats"
        | "projection"
        | "hint"
        | "batchSize"
        | "maxTimeMS"
        | "collation"
        | "readPref"
        | "allowDiskUse"
        | "comment"
        | "isCapped"
        | "getShardDistribution"
        | "getProfilingStatus"
        | "listCommands"
        | "serverBuildInfo"
        | "getReplicationInfo"
        | "getDBNames" => &[Observe],
        "getUsers" | "getUser" | "getRoles" | "getRole" => &[Observe, Credential],
        "createCollection" | "createIndex" | "createIndexes" | "createView" | "ensureIndex" => &[Create],
        "insert" | "insertOne" | "insertMany" | "update" | "updateOne" | "updateMany" | "replaceOne"
        | "findAndModify" | "findOneAndUpdate" | "findOneAndReplace" | "bulkWrite" | "save" | "renameCollection"
        | "setProfilingLevel" | "reIndex" => &[Change],
        "drop" | "dropDatabase" | "deleteOne" | "deleteMany" | "remove" | "findOneAndDelete" | "dropIndex"
        | "dropIndexes" | "killOp" | "shutdownServer" | "stepDown" => &[Destroy],
        "createUser"
        | "updateUser"
        | "changeUserPassword"
        | "grantRolesToUser"
        | "revokeRolesFromUser"
        | "createRole"
        | "updateRole"
        | "grantPrivilegesToRole"
        | "auth" => &[Credential],
        "dropUser" | "dropAllUsers" | "dropRole" => &[Destroy, Credential],
        _ => return None,
    };
    Some(effects.iter().copied().collect())
}
