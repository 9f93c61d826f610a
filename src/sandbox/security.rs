//! Users, sessions and TLS, as an enterprise node has them: an own reading of wire.md 4 and 5, as no such server was at
//! hand. Roles are not played: who is in may do everything.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::ServerConfig;

use super::proto::{Reader, rc};

/// The salt of every client's password hashes; the cost is 10.
const SALT: &str = "7EqJtq98hPqEX7fNZaFWoO";
/// Before the fields: scheme, result, command, number of fields, and 12 unused bytes.
const HEADER: usize = 16;
const AUTHENTICATE: u8 = 0;
const LOGIN: u8 = 20;

mod id {
    pub(super) const USER: u8 = 0;
    pub(super) const CREDENTIAL: u8 = 3;
    pub(super) const CLEAR_PASSWORD: u8 = 4;
    pub(super) const SESSION_TOKEN: u8 = 5;
    pub(super) const SESSION_TTL: u8 = 6;
}

/// Who may come in.
#[derive(Debug, Clone, Default)]
pub struct SandboxSecurity {
    /// The users.
    pub users: Vec<SandboxUser>,
    /// How long a session lasts by the node's clock, in s; 0: for ever.
    pub session_ttl_s: u32,
    /// Whether who shows a certificate needs no user.
    pub pki: bool,
}

/// A user of the sandbox.
#[derive(Clone)]
pub struct SandboxUser {
    /// The name.
    pub name: String,
    /// The password.
    pub password: String,
    /// Whether another service would know the password: then it is wanted in clear.
    pub external: bool,
}

/// A password of a test may be one of a person.
impl std::fmt::Debug for SandboxUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SandboxUser({})", self.name)
    }
}

/// TLS of a sandbox node.
#[derive(Debug, Clone)]
pub struct SandboxTls {
    /// The listener's certificate, and whose certificates it wants.
    pub config: Arc<ServerConfig>,
    /// What the others are told that its certificate is for.
    pub name: String,
}

/// Who is at the other end of a connection.
#[derive(Debug, Default)]
pub(super) struct Guest {
    session: Option<u64>,
}

#[derive(Debug)]
struct Known {
    hash: String,
    password: String,
    external: bool,
}

#[derive(Debug)]
struct Session {
    user: String,
    /// In seconds of the node's clock; none: for ever.
    until: Option<u32>,
}

/// The users and sessions of a node.
#[derive(Debug)]
pub(super) struct Security {
    /// None: everybody may come in.
    options: Option<SandboxSecurity>,
    tls: Option<SandboxTls>,
    users: Mutex<BTreeMap<String, Known>>,
    sessions: Mutex<BTreeMap<u64, Session>>,
    logins: AtomicU64,
    refused: AtomicU64,
}

impl Security {
    pub fn new(options: Option<SandboxSecurity>, tls: Option<SandboxTls>) -> Self {
        let users = options.iter().flat_map(|options| &options.users);
        let users = users.map(|user| (user.name.clone(), known(&user.password, user.external))).collect();
        Self {
            options,
            tls,
            users: Mutex::new(users),
            sessions: Mutex::default(),
            logins: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// With what connections are accepted; none: in clear.
    pub fn tls(&self) -> Option<Arc<ServerConfig>> {
        self.tls.as_ref().map(|tls| Arc::clone(&tls.config))
    }

    pub fn tls_name(&self) -> &str {
        self.tls.as_ref().map_or("", |tls| &tls.name)
    }

    /// The code with which a request of a guest is refused, if it is.
    pub fn refuses(&self, guest: &Guest) -> Option<u8> {
        self.options.as_ref()?;
        match guest.session {
            None => Some(rc::NOT_AUTHENTICATED),
            Some(session) if self.locked().contains_key(&session) => None,
            Some(_) => Some(rc::EXPIRED_SESSION),
        }
    }

    /// Answers a message of the security protocol.
    pub fn answer(&self, body: &[u8], certificate: bool, guest: &mut Guest, now_s: u32) -> Vec<u8> {
        let Some(options) = &self.options else { return header(rc::NO_SECURITY, 0) };
        let mut reader = Reader(body);
        let Some(parsed) =
            reader.array::<HEADER>().and_then(|head| Some((head[2], reader.fields(head[3].into())?)))
        else {
            return header(rc::PARAMETER, 0);
        };
        let (command, fields) = parsed;
        let field = |wanted| fields.iter().find(|(id, _)| *id == wanted).map(|(_, data)| *data);
        match command {
            LOGIN => match self.check(options, &field, certificate) {
                Ok(user) => {
                    self.logins.fetch_add(1, Ordering::SeqCst);
                    self.open(options, user, guest, now_s)
                }
                Err(code) => {
                    self.refused.fetch_add(1, Ordering::SeqCst);
                    header(code, 0)
                }
            },
            AUTHENTICATE => {
                let token = field(id::SESSION_TOKEN)
                    .and_then(|token| Some(u64::from_be_bytes(token.try_into().ok()?)));
                let user = String::from_utf8_lossy(field(id::USER).unwrap_or_default()).into_owned();
                let mut sessions = self.locked();
                sessions.retain(|_, session| session.until.is_none_or(|until| now_s < until));
                match token.filter(|token| sessions.get(token).is_some_and(|session| session.user == user)) {
                    Some(token) => {
                        guest.session = Some(token);
                        header(rc::OK, 0)
                    }
                    None => header(rc::EXPIRED_SESSION, 0),
                }
            }
            _ => header(rc::INVALID_COMMAND, 0),
        }
    }

    fn check<'a>(
        &self,
        options: &SandboxSecurity,
        field: &impl Fn(u8) -> Option<&'a [u8]>,
        certificate: bool,
    ) -> Result<String, u8> {
        let Some(user) = field(id::USER) else {
            return if options.pki && certificate { Ok(String::new()) } else { Err(rc::INVALID_USER) };
        };
        let user = String::from_utf8_lossy(user).into_owned();
        let users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        let known = users.get(&user).ok_or(rc::INVALID_USER)?;
        let right = if known.external {
            field(id::CLEAR_PASSWORD) == Some(known.password.as_bytes())
        } else {
            field(id::CREDENTIAL) == Some(known.hash.as_bytes())
        };
        if right { Ok(user) } else { Err(rc::INVALID_CREDENTIAL) }
    }

    fn open(&self, options: &SandboxSecurity, user: String, guest: &mut Guest, now_s: u32) -> Vec<u8> {
        let token = rand::random::<u64>();
        let ttl = options.session_ttl_s;
        let until = (ttl > 0).then(|| now_s.saturating_add(ttl));
        self.locked().insert(token, Session { user, until });
        guest.session = Some(token);
        let mut answer = header(rc::OK, 1 + u8::from(ttl > 0));
        answer.extend([0, 0, 0, 9, id::SESSION_TOKEN]);
        answer.extend(token.to_be_bytes());
        if ttl > 0 {
            answer.extend([0, 0, 0, 5, id::SESSION_TTL]);
            answer.extend(ttl.to_be_bytes());
        }
        answer
    }

    pub fn expire_all(&self) {
        self.locked().clear();
    }

    pub fn logins(&self) -> (u64, u64) {
        (self.logins.load(Ordering::SeqCst), self.refused.load(Ordering::SeqCst))
    }

    pub fn set_password(&self, user: &str, password: &str) {
        let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(user) = users.get_mut(user) {
            *user = known(password, user.external);
        }
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Session>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn known(password: &str, external: bool) -> Known {
    Known { hash: hash(password), password: password.to_owned(), external }
}

/// What a client sends for a password.
fn hash(password: &str) -> String {
    // Another way to the same salt than the client's: out of a hash as text.
    let like = format!("$2a$10${SALT}{}", "u".repeat(31));
    let salt = like.parse::<bcrypt::HashParts>().map(|parts| parts.get_salt_raw()).unwrap_or_default();
    bcrypt::hash_with_salt(password, 10, salt)
        .map(|parts| parts.format_for_version(bcrypt::Version::TwoA))
        .unwrap_or_default()
}

fn header(result: u8, fields: u8) -> Vec<u8> {
    let mut header = vec![0; HEADER];
    if let [_, code, _, count, ..] = header.as_mut_slice() {
        (*code, *count) = (result, fields);
    }
    header
}
