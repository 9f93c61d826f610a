//! What the keys mean: read from the tables of `docs/configuration.md` and `docs/api.md`, so that it is written once.

use serde_json::{Value as Json, json};

use crate::config::kind::Kind;

const DOCUMENTS: [&str; 2] =
    [include_str!("../../../docs/configuration.md"), include_str!("../../../docs/api.md")];

/// The rows of the tables.
pub(super) struct Words(Vec<Row>);

struct Row {
    /// What the block of text before the table begins with.
    table: String,
    /// The first cell: keys, and of what.
    keys: String,
    default: String,
    bounds: String,
    text: String,
}

impl Row {
    fn read(table: &str, row: &str) -> Option<Self> {
        let cells: Vec<&str> = row.trim_end_matches('|').split('|').map(str::trim).collect();
        let [keys, default, bounds, text] = match cells.as_slice() {
            [keys, default, bounds, text] => [*keys, *default, *bounds, *text],
            [keys, default, text] => [*keys, *default, "", *text],
            _ => return None,
        };
        Some(Self {
            table: table.to_owned(),
            keys: keys.to_owned(),
            default: default.to_owned(),
            bounds: bounds.to_owned(),
            text: text.to_owned(),
        })
    }
}

/// What is said of a key.
pub(super) struct Said {
    /// One or two sentences.
    pub text: String,
    /// The cell with the default.
    pub default: Option<String>,
}

/// Where the keys of a kind stand: tables, and what stands beside the key there. The first that has the key counts.
fn places(kind: Kind) -> &'static [(&'static str, &'static str)] {
    const SEEDS: &str = "(of a seed)";
    const BY_TIME: &str = "### The body of a restore by time";
    match kind {
        Kind::Service => &[("## `service`", "")],
        Kind::JobHistory => &[("`service.job-history`", "")],
        Kind::Http => &[("`service.http`", "")],
        Kind::Https => &[("`service.https`", ""), ("`service.http`", "")],
        Kind::Rate => &[("`service.http`", "(in it: ")],
        Kind::Auth => &[("`service.auth`", "")],
        Kind::AuthToken => &[("`service.auth`", "(of a token)"), ("`service.auth`", "(of either)")],
        Kind::AuthCertificate => {
            &[("`service.auth`", "(of a certificate)"), ("`service.auth`", "(of either)")]
        }
        Kind::Audit => &[("`service.audit`", "")],
        Kind::Logger => &[("`service.logger`", "")],
        Kind::FileWriter => &[("`service.logger`", "(of it)")],
        Kind::ServiceBackup => &[("`service.backup`", "")],
        Kind::Cluster => &[("## `aerospike-clusters", "")],
        Kind::Seed => &[("## `aerospike-clusters", SEEDS)],
        Kind::Credentials => &[("`credentials`", "")],
        Kind::ClusterTls => &[("`tls`", "")],
        Kind::SecretAgent => &[("Asked for each", "")],
        Kind::Storage | Kind::LocalStorage => &[("One kind is given", "")],
        Kind::S3Storage => &[("Amazon S3", "")],
        Kind::AzureStorage => &[("A container of Azure", "")],
        Kind::AzureTiers => &[("A container of Azure", "`storage-class`: ")],
        Kind::GcpStorage => &[("A bucket of Google", "")],
        Kind::GcpClass => &[("A bucket of Google", "`storage-class`: ")],
        Kind::Policy => &[("`{}` is a policy", "")],
        Kind::Retry => &[("`retry-policy`", "")],
        Kind::Compression => &[("`compression`", "")],
        Kind::Encryption | Kind::Decryption => &[("`encryption`", "")],
        Kind::Retention => &[("`retention`", "")],
        Kind::Keep => &[("`keep`", "")],
        Kind::Routine => &[("## `backup-routines", "")],
        Kind::Copy => &[("A list, in the order", "")],
        // What a restore by path has, too, is said there.
        Kind::Restore | Kind::RestoreTimestamp => &[(BY_TIME, "")],
        Kind::RestorePolicy => &[("### `policy` of a restore", "")],
        Kind::CopyOrder => &[("### The body of a copy", "")],
        // What is in no table is below.
        Kind::Document
        | Kind::S3Class
        | Kind::S3Encryption
        | Kind::S3ObjectLock
        | Kind::S3Role
        | Kind::Remap
        | Kind::SafetyBackup => &[],
    }
}

/// What a section is.
pub(super) const fn about(kind: Kind) -> &'static str {
    match kind {
        Kind::Document => "A whole configuration.",
        Kind::Service => "The service itself: listeners, log, limits. A change of it needs a restart.",
        Kind::Http => "The listener of plain HTTP.",
        Kind::Https => "The listener of HTTPS.",
        Kind::Rate => "How many requests one address may send.",
        Kind::Auth => "Who may do what.",
        Kind::AuthToken => "One who comes with a token.",
        Kind::AuthCertificate => "One who comes with a client certificate.",
        Kind::Audit => "How long it is remembered who has changed what.",
        Kind::Logger => "What is logged, and where to.",
        Kind::FileWriter => "A file that is logged to, and when another one is begun.",
        Kind::ServiceBackup => "What is common to all backups.",
        Kind::JobHistory => "When ended jobs are forgotten.",
        Kind::Cluster => "A cluster: where it is, who logs in, how connections are encrypted.",
        Kind::Credentials => "Who logs in to the nodes of a cluster.",
        Kind::ClusterTls => {
            "Encrypted connections to the nodes of a cluster; `{}`: with the authorities of this system."
        }
        Kind::Seed => "A node that is asked for the others.",
        Kind::SecretAgent => "A secret agent, and how it is asked.",
        Kind::Storage => "Where backups are kept: exactly one kind of place.",
        Kind::LocalStorage => "A directory of this machine.",
        Kind::AzureStorage => "A container of Azure's blob service.",
        Kind::AzureTiers => "The access tiers that objects are kept in.",
        Kind::GcpStorage => "A bucket of Google Cloud Storage.",
        Kind::GcpClass => "The storage classes that Google keeps objects in.",
        Kind::S3Storage => "A bucket of Amazon S3, or of a server that speaks its language.",
        Kind::S3Class => "The storage classes that S3 keeps objects in.",
        Kind::S3Encryption => "How the server encrypts objects at rest.",
        Kind::S3ObjectLock => "How long objects cannot be deleted.",
        Kind::S3Role => "A role that is taken for every request.",
        Kind::Policy => "How backups are made; `{}` is a policy.",
        Kind::Retry => {
            "When a thing that failed is tried again: before retry n (from 0) it waits `base-timeout` × `multiplier`^n, at most a day."
        }
        Kind::Compression => "How files are compressed.",
        Kind::Encryption => "How files are encrypted, and where the key is.",
        Kind::Decryption => "Where the key of encrypted backups is.",
        Kind::Retention => "What stays after each full backup.",
        Kind::Keep => "Of how many periods the newest full backup stays.",
        Kind::Routine => "What is backed up, when, how and where to.",
        Kind::Copy => "Another storage that backups are copied to.",
        Kind::CopyOrder => "What is to be copied where.",
        Kind::Restore => "A restore of one folder of a backup.",
        Kind::RestoreTimestamp => "A restore of what a routine had saved at an instant.",
        Kind::RestorePolicy => "How a restore is done; `{}` is a policy.",
        Kind::Remap => "One namespace is restored under another name.",
        Kind::SafetyBackup => "A full backup of the destination before the first write.",
    }
}

/// What no table has a row for.
fn beside(kind: Kind, key: &str) -> Option<&'static str> {
    Some(match (kind, key) {
        (Kind::Document, "service") => "what a change of needs a restart: listeners, log, limits",
        (Kind::Document, "aerospike-clusters") => "the clusters, by name",
        (Kind::Document, "secret-agents") => "who is asked for secrets, by name",
        (Kind::Document, "storage") => "where backups are kept, by name",
        (Kind::Document, "backup-policies") => "how backups are made, by name",
        (Kind::Document, "backup-routines") => "what is backed up when, by name: it is a folder in storage",
        (Kind::Service, "http") => "the listener of plain HTTP",
        (Kind::Service, "https") => "the listener of HTTPS; all keys of `http`, and its certificates",
        (Kind::Service, "auth") => {
            "who may do what; without it everybody may do everything, and only this machine reaches it"
        }
        (Kind::Service, "audit") => "how long it is remembered who has changed what",
        (Kind::Service, "logger") => "what is logged, and where to",
        (Kind::Service, "backup") => "what is common to all backups",
        (Kind::Service, "job-history") => "when ended jobs are forgotten, by whichever cuts first",
        (Kind::Http | Kind::Https, "rate") => "how many requests one client may send",
        (Kind::Cluster, "credentials") => "who logs in to the nodes; none: nobody",
        (Kind::Cluster, "tls") => {
            "encrypted connections; none: in clear; `{}`: with the authorities of this system"
        }
        (Kind::Policy, "retry-policy") => {
            "the delay before retry n (from 0) is `base-timeout` × `multiplier`^n, at most a day"
        }
        (Kind::Policy, "compression") => "how files are compressed; none: not",
        (Kind::Policy, "encryption") => "how files are encrypted, by exactly one of the keys; none: not",
        (Kind::Policy, "retention") => "what stays after each full; none: everything",
        (Kind::Storage, "local-storage") => "a directory of this machine",
        (Kind::Storage, "s3-storage") => "a bucket of Amazon S3, or of a server that speaks its language",
        (Kind::Storage, "azure-storage") => "a container of Azure's blob service",
        (Kind::Storage, "gcp-storage") => "a bucket of Google Cloud Storage",
        (Kind::AzureStorage | Kind::GcpStorage, "storage-class") => "where objects are kept",
        (Kind::S3Class, "data") => "the class of data files (`*.asb`)",
        (Kind::S3Class, "metadata") => "the class of everything else in a backup's folder; no archive",
        (Kind::S3Encryption, "mode") => "with whose key the server encrypts: S3's own, or one of KMS",
        (Kind::S3Encryption, "kms-key-id") => "the key of KMS; without it the bucket's or Amazon's own",
        (Kind::S3ObjectLock, "mode") => "who may lift the lock: who has the right to, or nobody",
        (Kind::S3ObjectLock, "days") => "days from the moment of writing",
        (Kind::S3Role, "role-arn") => "the role's ARN",
        (Kind::S3Role, "session-name") => "how the session is called in the audit log",
        (Kind::S3Role, "external-id") => "what the role's owner asks for",
        (Kind::S3Role, "sts-endpoint") => "the server that gives roles; without it Amazon's of the region",
        (Kind::Restore, "backup-data-path") => {
            "the folder, below the storage's root: of one namespace, or of a whole run"
        }
        (Kind::Restore, "allow-incomplete") => {
            "whether a folder of a routine without `metadata.yaml` is restored: what there is. Default: false"
        }
        (Kind::Restore, "source") => "the storage, inline; either this or `source-name`",
        (Kind::Restore, "source-name") => "the storage, by its name",
        (Kind::Restore, "destination") => "the cluster, inline; either this or `destination-name`",
        (Kind::Restore, "destination-name") => "the cluster, by its name",
        (Kind::Restore, "secret-agent") => "who is asked for `policy.encryption.key-secret`, inline",
        (Kind::Restore, "secret-agent-name") => "the same, by its name",
        (Kind::Restore | Kind::RestoreTimestamp, "policy") => "how",
        (Kind::Restore | Kind::RestoreTimestamp, "safety-backup") => {
            "what is saved of the destination first; not with `validate`"
        }
        (Kind::SafetyBackup, "storage") => "where it goes: a configured storage",
        (Kind::Remap, "source") => "the name in the backup",
        (Kind::Remap, "destination") => "the name in the destination",
        _ => return None,
    })
}

/// A value that may stand there.
pub(super) fn example(kind: Kind, key: &str) -> Option<Json> {
    Some(match (kind, key) {
        (Kind::Routine, "interval-cron") => json!("0 0 2 * * ?"),
        (Kind::Routine, "incr-interval-cron") => json!("0 0 * * * ?"),
        (Kind::Routine, "verify-cron") => json!("@weekly"),
        (Kind::Routine, "namespaces") => json!(["test"]),
        (Kind::Routine, "partition-list") => json!("0,100-50"),
        (Kind::Routine, "filter-exp") => json!("kwOTUQKjYWdlGQ=="),
        (Kind::Routine | Kind::ServiceBackup, "schedule-timezone") => json!("Europe/Berlin"),
        (Kind::Seed, "host-name") => json!("node1.example.org"),
        (Kind::Seed, "port") => json!(3000),
        (Kind::Credentials, "password") => json!("file:/run/secrets/aerospike"),
        (Kind::S3Storage, "bucket") => json!("backups"),
        (Kind::S3Storage, "s3-region") => json!("eu-central-1"),
        (Kind::S3Storage, "access-key-id" | "secret-access-key") => json!("secrets:backup:s3"),
        (Kind::AzureStorage, "endpoint") => json!("https://ACCOUNT.blob.core.windows.net"),
        (Kind::LocalStorage, "path") => json!("/var/lib/holdfast/backups"),
        (Kind::Retention, "max-age") => json!("30d"),
        (Kind::Encryption, "key-file") => json!("/etc/holdfast/backup.pem"),
        _ => return None,
    })
}

impl Words {
    pub(super) fn read() -> Self {
        let mut rows = Vec::new();
        for document in DOCUMENTS {
            let (mut block, mut in_block, mut in_code) = (String::new(), false, false);
            for line in document.lines() {
                let Some(row) = line.strip_prefix('|') else {
                    // A heading counts while nothing else stands between it and its table; an example is nothing.
                    in_code ^= line.starts_with("```");
                    if !line.is_empty() && !in_block && !in_code && !line.starts_with("```") {
                        line.clone_into(&mut block);
                    }
                    in_block = !line.is_empty() && !in_code;
                    continue;
                };
                rows.extend(Row::read(&block, row));
            }
        }
        Self(rows)
    }

    /// What is said of a key.
    pub(super) fn of_key(&self, kind: Kind, key: &str) -> Option<Said> {
        if let Some(text) = beside(kind, key) {
            return Some(Said { text: text.to_owned(), default: None });
        }
        let row = places(kind).iter().find_map(|(table, of)| {
            self.0.iter().find(|row| {
                let quoted = row.keys.contains(&format!("`{key}`"));
                let is_its = if of.is_empty() {
                    !row.keys.contains("(of ") && !row.keys.contains("(in ") && !row.keys.contains("`: `")
                } else {
                    row.keys.contains(of)
                };
                quoted && is_its && row.table.starts_with(table)
            })
        })?;
        let mut parts = vec![row.text.as_str()];
        let default = format!("Default: {}", row.default);
        let bounds = format!("Bounds: {}", row.bounds);
        if row.default == "required" {
            parts.push("Required");
        } else if !row.default.is_empty() {
            parts.push(&default);
        }
        if !row.bounds.is_empty() {
            parts.push(&bounds);
        }
        let text: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty() && *part != "below").collect();
        Some(Said { text: plain(&text.join(". ")), default: Some(row.default.clone()) })
    }
}

/// Without the marks of Markdown that an editor would show, and without where its links lead.
fn plain(text: &str) -> String {
    let text = text.replace("**", "");
    let (mut plain, mut rest) = (String::new(), text.as_str());
    while let Some((before, after)) = rest.split_once("](") {
        let (Some((kept, words)), Some((_, left))) = (before.rsplit_once('['), after.split_once(')')) else {
            break;
        };
        plain.push_str(kept);
        plain.push_str(words);
        rest = left;
    }
    plain + rest
}
