//! Fail the Nth call of an object store, N = 1, 2, 3… until the job completes, once and for good (rules.md 3.9, 6.1): calls of
//! the storage in the process, and requests at the server (s3s-fs in this process). At every N, each backup that is seen is whole.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;

use crate::fail::{Trouble, fail_each_nth, kind, run, run_by};
use crate::kinds::{Kind, Ready};
use crate::place::Place;
use crate::process::Fault;
use crate::s3_server::{ACCESS_KEY, Fault as Answer, S3Server, SECRET_KEY};
use crate::verdict::Counts;
use crate::world::World;

#[derive(Debug, Clone, Copy)]
enum How {
    /// A call of the storage fails; after it took effect, or before.
    Call { after: bool, always: bool },
    /// The server refuses a request.
    Refused { always: bool },
    /// The server does what it is asked for, and says that it failed.
    Hidden,
}

const HOW: [How; 6] = [
    How::Call { after: false, always: false },
    How::Call { after: true, always: false },
    How::Call { after: false, always: true },
    How::Refused { always: false },
    How::Refused { always: true },
    How::Hidden,
];

/// A place whose storage is a bucket.
async fn prepare(kind: Kind, world: &World) -> (Ready, S3Server) {
    let mut place = Place::new(world, kind.namespaces);
    std::fs::create_dir_all(place.storage()).unwrap();
    let server = S3Server::start_at(place.storage().parent().unwrap(), None).await;
    place.is_bucket = true;
    place.config["storage"]["disk"] = json!({"s3-storage": {
        "bucket": place.storage().file_name().unwrap().to_str(),
        "s3-region": "eu-central-1",
        "s3-endpoint-override": server.url,
        "access-key-id": ACCESS_KEY,
        "secret-access-key": SECRET_KEY,
    }});
    place.write_config();
    (kind.prepare_in(world, place).await, server)
}

/// Runs the job while the Nth call or request fails; none: they are only counted.
async fn fail_nth(
    ready: &Ready,
    world: &World,
    server: &S3Server,
    how: How,
    nth: Option<usize>,
) -> (String, usize, Counts) {
    if let How::Call { after, always } = how {
        let fault = Fault {
            action: if nth.is_some() { "fail" } else { "" },
            nth: nth.unwrap_or(0) as u64,
            after,
            always: always && nth.is_some(),
            seams: "storage",
            when_armed: true,
            ..Fault::default()
        };
        return run_by(ready, world, fault).await;
    }
    let seen = Arc::new(AtomicUsize::new(0));
    let always = matches!(how, How::Refused { always: true });
    let switch = |on: bool| {
        let seen = Arc::clone(&seen);
        if !on {
            return server.heal();
        }
        server.on(move |_| {
            let at = seen.fetch_add(1, Ordering::SeqCst) + 1;
            let is_turn = nth.is_some_and(|nth| at == nth || (always && at > nth));
            is_turn.then(|| match how {
                How::Hidden => Answer::Hidden(500),
                _ => Answer::error(403, "AccessDenied"),
            })
        });
    };
    let trouble = Trouble {
        always: always && nth.is_some(),
        fault: None,
        switch: &switch,
        counted: &|| seen.load(Ordering::SeqCst),
    };
    run(ready, world, &trouble).await
}

async fn fail_at(kind: Kind) {
    let world = World::start(60).await;
    // By request: the end of that very job is looked at.
    let kind = Kind { by_slot: false, ..kind };
    let (ready, server) = prepare(kind, &world).await;
    fail_each_nth("fail the Nth call of an object store", &ready, &HOW, async |how, nth| {
        fail_nth(&ready, &world, &server, how, nth).await
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_to_a_bucket_ends_with_a_reason_when_the_nth_call_fails() {
    fail_at(kind("full")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incremental_to_a_bucket_ends_with_a_reason_when_the_nth_call_fails() {
    fail_at(kind("incremental")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restore_from_a_bucket_ends_with_a_reason_when_the_nth_call_fails() {
    fail_at(kind("restore")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retention_in_a_bucket_ends_with_a_reason_when_the_nth_call_fails() {
    fail_at(kind("retention")).await;
}
