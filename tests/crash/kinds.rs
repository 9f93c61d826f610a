//! The kinds of job that are tried, and what each needs beforehand. Another kind is another row of [`KINDS`].

use serde_json::{Value, json};

use crate::place::{NEVER, Place, ROUTINE};
use crate::process::{Fault, PATIENCE, Process};
use crate::verdict::Expect;
use crate::world::{SECOND, SOURCE, TARGET, World};

/// Records of 8 KiB that make a few files of 1 MiB.
const LARGE: i64 = 400;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Full,
    Incremental,
    Restore,
    Retention,
    Verify,
    /// A chain to another storage, on demand.
    Copy,
}

#[derive(Debug, Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    pub what: What,
    pub namespaces: &'static [&'static str],
    /// Fired by a slot that a downtime missed (and so run again after a crash), not by a request.
    pub by_slot: bool,
    /// The process crashed before: what is tried is the recovery, and the next attempt of the slot.
    pub crashed: bool,
    /// Its policy resumes, and its files are small: it has some to go on from.
    pub resumes: bool,
}

pub const KINDS: &[Kind] = &[
    Kind {
        name: "full",
        what: What::Full,
        namespaces: &[SOURCE],
        by_slot: true,
        crashed: false,
        resumes: false,
    },
    Kind {
        name: "full of two",
        what: What::Full,
        namespaces: &[SOURCE, SECOND],
        by_slot: true,
        crashed: false,
        resumes: false,
    },
    Kind {
        name: "recovery of a full",
        what: What::Full,
        namespaces: &[SOURCE],
        by_slot: true,
        crashed: true,
        resumes: false,
    },
    Kind {
        name: "resumed full",
        what: What::Full,
        namespaces: &[SOURCE],
        by_slot: true,
        crashed: true,
        resumes: true,
    },
    Kind {
        name: "incremental",
        what: What::Incremental,
        namespaces: &[SOURCE],
        by_slot: true,
        crashed: false,
        resumes: false,
    },
    Kind {
        name: "restore",
        what: What::Restore,
        namespaces: &[SOURCE],
        by_slot: false,
        crashed: false,
        resumes: false,
    },
    Kind {
        name: "retention",
        what: What::Retention,
        namespaces: &[SOURCE],
        by_slot: false,
        crashed: false,
        resumes: false,
    },
    Kind {
        name: "verify",
        what: What::Verify,
        namespaces: &[SOURCE],
        by_slot: false,
        crashed: false,
        resumes: false,
    },
    Kind {
        name: "copy",
        what: What::Copy,
        namespaces: &[SOURCE],
        by_slot: false,
        crashed: false,
        resumes: false,
    },
];

/// A kind with a place that is prepared for it.
pub struct Ready {
    pub kind: Kind,
    pub place: Place,
    /// Rows that the preparation left.
    pub jobs_before: usize,
    /// What triggers it.
    pub path: String,
    pub body: Value,
}

impl Kind {
    pub fn expect(&self) -> Expect {
        Expect { slots_succeed: self.by_slot, may_delete: self.what == What::Retention }
    }

    /// Prepares a place.
    pub async fn prepare(self, world: &World) -> Ready {
        self.prepare_in(world, Place::new(world, self.namespaces)).await
    }

    /// Prepares this place.
    pub async fn prepare_in(self, world: &World, mut place: Place) -> Ready {
        let daily = json!("0 0 0 * * ?");
        if self.resumes {
            place.set("backup-policies", "quick", "resume", json!(true));
            place.set("backup-policies", "quick", "file-limit", json!(1));
            world.write_large(SOURCE, LARGE).await;
        }
        if self.by_slot && self.what == What::Full {
            place.set("backup-routines", ROUTINE, "interval-cron", daily);
        } else if self.by_slot {
            place.set("backup-routines", ROUTINE, "incr-interval-cron", daily);
        } else {
            place.set("backup-routines", ROUTINE, "incr-interval-cron", json!(NEVER));
        }
        if self.what == What::Copy {
            place.config["storage"]["copy"] = json!({"local-storage": {"path": place.copies()}});
            place.write_config();
        }
        let service = Process::start(&place, None).await.unwrap();
        let (mut path, mut body) = (format!("/v1/backups/full/{ROUTINE}"), Value::Null);
        if self.what != What::Full {
            service.back_up("full").await;
            world.write(SOURCE, 0, 20, 2).await;
        }
        match self.what {
            What::Full => {}
            What::Incremental => path = format!("/v1/backups/incremental/{ROUTINE}"),
            What::Restore => {
                let job = service.back_up("incremental").await;
                "/v1/restore/timestamp".clone_into(&mut path);
                body = restore_body(&job);
            }
            What::Retention => {
                service.back_up("incremental").await;
                for _ in 0..2 {
                    service.back_up("full").await;
                }
            }
            What::Verify => {
                service.back_up("incremental").await;
                path = format!("/v1/backups/verify/{ROUTINE}");
            }
            What::Copy => {
                service.back_up("incremental").await;
                "/v1/backups/copy".clone_into(&mut path);
                body = json!({"routine": ROUTINE, "storage": "copy"});
            }
        }
        let (_, jobs_before) = service.open_jobs().await.unwrap();
        service.stop(&place).await;
        if self.what == What::Retention {
            place.set("backup-policies", "quick", "retention", json!({"full": 1}));
        }
        if self.by_slot {
            place.miss_a_slot().await;
        }
        if self.crashed {
            let fault = Fault {
                action: "abort",
                nth: 1,
                seams: "effects",
                place: "metadata.yaml",
                ..Fault::default()
            };
            // In the midst of its files: some are noted, one is open, one may be closed and not noted.
            let fault = if self.resumes { Fault { nth: 12, place: ".asb", ..fault } } else { fault };
            if let Ok(mut service) = Process::start(&place, Some(&fault)).await {
                service.wait(PATIENCE).await.expect("it crashes");
            }
            assert_eq!(self.resumes, place.noted_files().await > 0, "files to go on from");
        }
        place.keep();
        Ready { kind: self, place, jobs_before, path, body }
    }
}

/// A restore to the end of a job, into the target namespace.
pub fn restore_body(job: &Value) -> Value {
    let finished = chrono::DateTime::parse_from_rfc3339(job["finished"].as_str().unwrap()).unwrap();
    json!({
        "routine": ROUTINE,
        "time": finished.timestamp_millis() + 1,
        "policy": {"namespace": {"source": SOURCE, "destination": TARGET}},
    })
}
