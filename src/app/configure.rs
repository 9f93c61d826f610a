//! A change of the configuration through the API (abs.md 4.5): the whole is validated, then written, then in force;
//! what runs goes on with what it started with.

use std::sync::Arc;

use bytes::Bytes;

use super::config_place::{self, ConfigPlace, Held, TextHash};
use super::reload::{ReloadRefusal, schedules};
use super::{App, ReloadSource};
use crate::config::{Changes, Config, ConfigDiff, ConfigPart, EntityKind, FieldChange, NewText, Problems};
use crate::error::{Error, Result};
use crate::model::UnixMillis;
use crate::secrets::revealed;
use crate::tasks::blocking;

/// What somebody wants to be different.
#[derive(Debug, Clone)]
pub enum ConfigChange {
    /// Another document: a JSON body.
    Replace(Bytes),
    /// A thing that is not there yet: a JSON body.
    Add(EntityKind, String, Bytes),
    /// A thing that is there: a JSON body, in place of all of it.
    Update(EntityKind, String, Bytes),
    /// A thing that goes.
    Delete(EntityKind, String),
    /// A routine that rests (true) or goes on.
    Disable(String, bool),
}

/// How a change is made.
#[derive(Debug, Clone, Default)]
pub struct ChangeOptions {
    /// Only if the part has one of these tags; `*`: if it is there.
    pub if_match: Option<Vec<String>>,
    /// Only say what would change.
    pub dry_run: bool,
}

/// What a change has done, or would do.
#[derive(Debug, Clone)]
pub struct Changed {
    /// The fields that differ.
    pub fields: Vec<FieldChange>,
    /// The routines whose next job runs otherwise.
    pub affected: Vec<String>,
    /// Where the old file is kept, if the new one has lost its comments.
    pub old_file: Option<String>,
    /// The tag of the changed part, if it is there now.
    pub etag: Option<String>,
}

/// Why a change was not made. Nothing has changed.
#[derive(Debug)]
pub enum ChangeRefusal {
    /// The body cannot be read, or says what cannot be.
    Body(Problems),
    /// The thing itself, in ABS's words: `delete storage "s1"`.
    Thing {
        /// The verb, the kind and the name.
        what: String,
        /// The kind and the name as 3.7 has them: `storage "s1"`.
        thing: String,
        /// Why.
        cause: ThingCause,
    },
    /// No routine of that name to enable or disable.
    UnknownRoutine(String),
    /// It changes what needs a restart, in ABS's words.
    Static(String),
    /// The part is not what `If-Match` says.
    Stale,
    /// The file holds something else, which is not in force.
    FileEdited(ReloadRefusal),
    /// It could not be written.
    NotPersisted(Error),
    /// It could not be put in force.
    Failed(Error),
}

/// Why a thing cannot be changed so.
#[derive(Debug)]
pub enum ThingCause {
    /// There is none.
    Missing,
    /// There is one.
    Exists,
    /// Something names it, as `routine "daily"`.
    InUse(String),
    /// The whole would not fit together.
    Invalid(Problems),
}

impl ConfigChange {
    /// The part of the configuration that it concerns.
    pub fn part(&self) -> ConfigPart {
        match self {
            Self::Replace(_) => ConfigPart::Whole,
            Self::Add(kind, name, _) | Self::Update(kind, name, _) | Self::Delete(kind, name) => {
                ConfigPart::One(*kind, name.clone())
            }
            Self::Disable(name, _) => ConfigPart::One(EntityKind::Routine, name.clone()),
        }
    }

    fn thing(&self, cause: ThingCause) -> ChangeRefusal {
        let verb = match self {
            Self::Add(..) => "add",
            Self::Delete(..) => "delete",
            _ => "update",
        };
        let ConfigPart::One(kind, name) = self.part() else {
            return match cause {
                ThingCause::Invalid(problems) => ChangeRefusal::Body(problems),
                _ => ChangeRefusal::Stale,
            };
        };
        ChangeRefusal::Thing {
            what: format!("{verb} {} \"{name}\"", kind.long_word()),
            thing: format!("{} \"{name}\"", kind.word()),
            cause,
        }
    }

    /// The configuration with the change in it.
    fn apply(&self, old: &Config, now: UnixMillis) -> Result<Config, ChangeRefusal> {
        let mut new = old.clone();
        match self {
            Self::Replace(body) => {
                new = Config::from_json_over(body, old, now).map_err(ChangeRefusal::Body)?;
            }
            Self::Add(kind, name, body) => {
                let stored = new.has(*kind, name);
                // A secret of the one that is there is not this one's.
                new.take(*kind, name);
                new.put_json(*kind, name, body, now).map_err(ChangeRefusal::Body)?;
                if stored {
                    return Err(self.thing(ThingCause::Exists));
                }
            }
            Self::Update(kind, name, body) => {
                let stored = new.has(*kind, name);
                new.put_json(*kind, name, body, now).map_err(ChangeRefusal::Body)?;
                if !stored {
                    return Err(self.thing(ThingCause::Missing));
                }
            }
            Self::Delete(kind, name) => {
                if !new.take(*kind, name) {
                    return Err(self.thing(ThingCause::Missing));
                }
                if let Some(user) = old.user_of(*kind, name) {
                    return Err(self.thing(ThingCause::InUse(user)));
                }
                new.check().map_err(|problems| {
                    let path = problems.first().map(|problem| problem.path.clone()).unwrap_or_default();
                    self.thing(ThingCause::InUse(path))
                })?;
            }
            Self::Disable(name, disabled) => {
                let Some(routine) = new.backup_routines.get_mut(name) else {
                    return Err(ChangeRefusal::UnknownRoutine(name.clone()));
                };
                if routine.disabled.unwrap_or(false) != *disabled {
                    routine.disabled = disabled.then_some(true);
                }
            }
        }
        new.check().map_err(|problems| self.thing(ThingCause::Invalid(problems)))?;
        Ok(new)
    }
}

impl App {
    /// Makes a change, or says what it would do. A routine that is disabled ends its backups, too.
    pub async fn change_config(
        &self,
        change: ConfigChange,
        options: ChangeOptions,
    ) -> Result<Changed, ChangeRefusal> {
        let changed = {
            let _one_at_a_time = self.reloading.lock().await;
            self.try_change(&change, &options).await?
        };
        if let (ConfigChange::Disable(routine, true), false) = (&change, options.dry_run) {
            self.cancel_backups(routine).await.map_err(ChangeRefusal::Failed)?;
        }
        Ok(changed)
    }

    async fn try_change(
        &self,
        change: &ConfigChange,
        options: &ChangeOptions,
    ) -> Result<Changed, ChangeRefusal> {
        let text = self.file_in_force().await?;
        let (old, part) = (self.config(), change.part());
        if let Some(wanted) = &options.if_match {
            let tag = self.etag_of(&old, &part);
            if !tag.is_some_and(|tag| wanted.iter().any(|wanted| *wanted == tag || wanted == "*")) {
                return Err(ChangeRefusal::Stale);
            }
        }
        let mut new = change.apply(&old, self.now())?;
        let diff = ConfigDiff::between(&old, &new);
        if let Some(change) = diff.static_change() {
            return Err(ChangeRefusal::Static(change));
        }
        // To spell out a default is no change, and the file's section `service` is nobody's but its author's.
        new.service.clone_from(&old.service);
        let mut changed = Changed {
            fields: FieldChange::between(&old, &new),
            affected: diff.affected.iter().cloned().collect(),
            old_file: None,
            etag: self.etag_of(&new, &part),
        };
        schedules(&new, self.now()).map_err(ChangeRefusal::Failed)?;
        if changed.fields.is_empty() {
            return Ok(changed);
        }
        let Some((place, held)) = text else {
            return if options.dry_run { Ok(changed) } else { Err(ChangeRefusal::NotPersisted(no_file())) };
        };
        let (now, base, before) = (self.now(), Arc::clone(&old), held.text.clone());
        // It reads the document again and again.
        let written = blocking(move || new.text_over(&before, &base, now).map(|written| (new, written)));
        let (new, NewText { text: new_text, rewritten }) =
            written.await.map_err(ChangeRefusal::NotPersisted)?;
        if rewritten {
            changed.old_file = Some(place.backup().await);
        }
        if options.dry_run {
            return Ok(changed);
        }
        let hash = config_place::hash(&new_text);
        let written = place.replace(&held, new_text, rewritten).await.map_err(ChangeRefusal::NotPersisted)?;
        if let Err(error) = self.put_in_force(new, &diff).await {
            // What is in force is what the file says, also of a change that failed.
            if let Err(error) = place.replace(&written, held.text, false).await {
                tracing::error!(reason = error.report(), "the file of the configuration was not put back");
            }
            return Err(ChangeRefusal::Failed(error));
        }
        self.examined(hash, ReloadSource::Api, None);
        log_change(&changed, &diff.routines);
        Ok(changed)
    }

    /// The file, once it is what is in force: a file that was edited is taken first. None: there is no file.
    async fn file_in_force(&self) -> Result<Option<(&ConfigPlace, Held)>, ChangeRefusal> {
        let Some(place) = &self.config_place else { return Ok(None) };
        let held = match place.read().await {
            Ok(Ok(held)) => held,
            Ok(Err(problems)) => return Err(ChangeRefusal::FileEdited(ReloadRefusal::Invalid(problems))),
            Err(error) => return Err(ChangeRefusal::NotPersisted(error)),
        };
        let hash: TextHash = config_place::hash(&held.text);
        if !self.is_in_force(&hash) {
            self.reload_locked(ReloadSource::Api).await.map_err(ChangeRefusal::FileEdited)?;
            if !self.is_in_force(&hash) {
                return Err(ChangeRefusal::Failed(Error::temporary(
                    "config-file-edited",
                    "the file was edited while it was read",
                )));
            }
        }
        Ok(Some((place, held)))
    }

    /// The tag of a part of the configuration in force; none if it is not there.
    pub fn config_etag(&self, part: &ConfigPart) -> Option<String> {
        self.etag_of(&self.config(), part)
    }

    /// Differs where a secret differs, and tells nothing of it: the key is this process's.
    fn etag_of(&self, config: &Config, part: &ConfigPart) -> Option<String> {
        let bytes = revealed(|| config.part_json(part))?;
        let hash = blake3::keyed_hash(&self.etag_key, &bytes).to_hex();
        Some(format!("\"{}\"", hash.get(..32).unwrap_or_default()))
    }
}

fn log_change(changed: &Changed, routines: &Changes) {
    let fields: Vec<&str> = changed.fields.iter().map(|field| field.path.as_str()).collect();
    tracing::info!(?fields, affected = ?changed.affected, removed = ?routines.removed, "configuration changed");
    if let Some(old) = &changed.old_file {
        tracing::warn!(old, "the configuration's file was written anew: its comments are in the old one");
    }
}

fn no_file() -> Error {
    Error::permanent("config-not-persisted", "this service was started without a configuration file")
        .hint("Start it with --config FILE.")
}
