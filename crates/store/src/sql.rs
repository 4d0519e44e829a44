//! One SQL text for both engines.

/// Rewrites `$n` to `?n`: SQLite would otherwise bind `$2, $1` in the order of their appearance.
///
/// Our statements hold no `$` within quotes; foreign text is always a parameter.
#[must_use]
pub(crate) fn for_sqlite(sql: &str) -> String {
    sql.replace('$', "?").replace(" FOR UPDATE SKIP LOCKED", "").replace(" FOR UPDATE", "")
}

/// A migration's text for SQLite: its names of the types, strict tables, no collation, no sequences and functions. A table that
/// says so is kept in the order of its key.
#[must_use]
pub(crate) fn schema_for_sqlite(sql: &str) -> String {
    const NOT_THERE: [&str; 4] = ["--", "CREATE SEQUENCE ", "SELECT setval(", "CREATE FUNCTION "];
    let is_for_both =
        |line: &&str| !NOT_THERE.iter().any(|start| line.trim_start().starts_with(start)) && !line.contains(" RENAME CONSTRAINT ");
    let plain: String = sql.lines().filter(is_for_both).map(|line| format!("{line}\n")).collect();
    let clustered = plain.replace("\n) /* clustered */;", "\n) STRICT, WITHOUT ROWID;");
    clustered.replace("BIGINT", "INTEGER").replace("BYTEA", "BLOB").replace(" COLLATE \"C\"", "").replace("\n);", "\n) STRICT;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_keep_their_numbers() {
        assert_eq!(for_sqlite("SELECT $2, $1 WHERE a = $10 FOR UPDATE SKIP LOCKED"), "SELECT ?2, ?1 WHERE a = ?10");
    }

    #[test]
    fn a_table_becomes_strict() {
        assert_eq!(
            schema_for_sqlite("-- x\nCREATE TABLE t (\n  a BIGINT, b TEXT COLLATE \"C\"\n);"),
            "CREATE TABLE t (\n  a INTEGER, b TEXT\n) STRICT;\n"
        );
        let clustered = "CREATE TABLE t (\n  a BIGINT PRIMARY KEY\n) /* clustered */;";
        assert_eq!(schema_for_sqlite(clustered), "CREATE TABLE t (\n  a INTEGER PRIMARY KEY\n) STRICT, WITHOUT ROWID;\n");
    }
}
