//! How a configured cluster is entered.

use crate::aerospike::{Access, AuthMode, Login, Tls};
use crate::config::{self, ClusterConfig};
use crate::secrets::{Keeper, SecretSource, StoredSecret};

/// The secrets stay where they are until a connection is opened.
pub(super) fn of(cluster: &ClusterConfig, keeper: &Keeper) -> Access {
    let stored = |source: &Option<SecretSource>| {
        source.clone().map(|source| StoredSecret::new(source, keeper.clone()))
    };
    Access {
        cluster_name: cluster.cluster_name.clone(),
        services_alternate: cluster.services_alternate,
        login: cluster.credentials.as_ref().map(|credentials| Login {
            mode: match credentials.mode {
                config::AuthMode::Internal => AuthMode::Internal,
                config::AuthMode::External => AuthMode::External,
                config::AuthMode::Pki => AuthMode::Pki,
            },
            user: credentials.user.clone(),
            password: stored(&credentials.password),
        }),
        tls: cluster.tls.as_ref().map(|tls| Tls {
            files: tls.files.clone(),
            key_password: stored(&tls.key_password),
            seed_names: cluster
                .seeds
                .iter()
                .filter_map(|seed| Some((seed.host.clone(), seed.port, seed.tls_name.clone()?)))
                .collect(),
            name: tls.name.clone(),
        }),
    }
}
