//! Logging in (wire.md 4 and 5): credentials for a session, and a session's token on every further connection.

use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretSlice, SecretString};
use tokio::sync::Mutex;

use crate::error::{Error, Result};
use crate::secrets::StoredSecret;
use crate::tasks::blocking;

use super::conn::{Arrival, Connection, lost};
use super::result_code::ResultCode;
use super::wire::{self, Cursor, FrameKind, Malformed};

/// Code of the errors that mean "these credentials will not do": for each further try an account may be locked.
pub(super) const LOGIN_REFUSED: &str = "login-refused";

/// How long a node may take: an external service may be asked first.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer taken; a token has a few hundred bytes.
const ANSWER_BYTES_MAX: usize = 64 << 10;
/// A session is not used in its last minute: what is under way must not outlive it.
const SESSION_MARGIN: Duration = Duration::from_mins(1);
/// Bytes before the fields of a message: scheme, result, command, number of fields, and 12 unused.
const HEADER_BYTES: usize = 16;
/// The salt and the cost with which every client hashes a password, so that the server can compare hashes
/// (`$2a$10$7EqJtq98hPqEX7fNZaFWoO`).
const SALT: [u8; 16] = [244, 107, 11, 190, 207, 254, 141, 27, 6, 103, 216, 79, 109, 193, 216, 169];
const COST: u32 = 10;

mod command {
    pub(super) const AUTHENTICATE: u8 = 0;
    pub(super) const LOGIN: u8 = 20;
}

mod field {
    pub(super) const USER: u8 = 0;
    pub(super) const CREDENTIAL: u8 = 3;
    pub(super) const CLEAR_PASSWORD: u8 = 4;
    pub(super) const SESSION_TOKEN: u8 = 5;
    pub(super) const SESSION_TTL: u8 = 6;
}

/// How a cluster finds out who we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthMode {
    /// By the hash of the password.
    Internal,
    /// By the password itself, which it shows to another service; only with TLS.
    External,
    /// By the certificate of the TLS connection.
    Pki,
}

/// Who we are to a cluster.
#[derive(Debug, Clone)]
pub struct Login {
    /// How it finds out.
    pub mode: AuthMode,
    /// The user; empty with [`AuthMode::Pki`].
    pub user: String,
    /// Where the password is, asked for at each login; none with [`AuthMode::Pki`].
    pub password: Option<StoredSecret>,
}

/// A session on one node.
#[derive(Clone)]
pub(super) struct Session {
    token: SecretSlice<u8>,
    until: Option<Instant>,
}

impl Session {
    /// Whether it may still be used; the node has the last word.
    pub(super) fn is_fresh(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        self.token.expose_secret() == other.token.expose_secret()
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Session")
    }
}

/// Logs in to the nodes of one cluster.
#[derive(Debug)]
pub(super) struct Desk {
    login: Login,
    /// What errors call the cluster.
    label: String,
    /// The last password and its hash, which takes a tenth of a second.
    hashed: Mutex<Option<(SecretString, SecretString)>>,
}

impl Desk {
    pub(super) fn new(login: Login, label: String) -> Self {
        Self { login, label, hashed: Mutex::new(None) }
    }

    /// Refuses to show a password on a connection in clear.
    pub(super) fn check_in_clear(&self) -> Result<()> {
        if self.login.mode == AuthMode::Internal {
            return Ok(());
        }
        let message = format!("cluster \"{}\": auth-mode EXTERNAL and PKI need tls", self.label);
        Err(Error::permanent(LOGIN_REFUSED, message).hint("Give the cluster tls, or another auth-mode."))
    }

    /// Shows our credentials. `None`: the node knows no logins, and anybody may do anything.
    pub(super) async fn login(&self, connection: &mut Connection) -> Result<Option<Session>> {
        let mut message = Message::new(command::LOGIN);
        if self.login.mode != AuthMode::Pki {
            let (password, hash) = self.password().await?;
            message.field(field::USER, self.login.user.as_bytes());
            message.field(field::CREDENTIAL, hash.expose_secret().as_bytes());
            if self.login.mode == AuthMode::External {
                message.field(field::CLEAR_PASSWORD, password.expose_secret().as_bytes());
            }
        }
        let (result, body) = exchange(connection, message).await?;
        match result {
            ResultCode::OK => session(&body).map(Some).map_err(|error| connection.malformed(error)),
            ResultCode::SECURITY_NOT_ENABLED => {
                tracing::warn!(cluster = self.label, node = %connection.peer(), "credentials are given, but the node lets everybody in");
                Ok(None)
            }
            refused => Err(self.refused(connection, refused)),
        }
    }

    /// Shows a token; false if the node does not take it (any more).
    pub(super) async fn enter(&self, connection: &mut Connection, session: &Session) -> Result<bool> {
        let mut message = Message::new(command::AUTHENTICATE);
        if self.login.mode != AuthMode::Pki {
            message.field(field::USER, self.login.user.as_bytes());
        }
        message.field(field::SESSION_TOKEN, session.token.expose_secret());
        let (result, _) = exchange(connection, message).await?;
        Ok(matches!(result, ResultCode::OK | ResultCode::SECURITY_NOT_ENABLED))
    }

    /// The password as it is now, and its hash.
    async fn password(&self) -> Result<(SecretString, SecretString)> {
        let password = match &self.login.password {
            Some(stored) => stored.fetch_text().await.map_err(|error| {
                error.context(format_args!(
                    "password of user \"{}\" of cluster \"{}\"",
                    self.login.user, self.label
                ))
            })?,
            None => SecretString::from(""),
        };
        let mut hashed = self.hashed.lock().await;
        if let Some(known) = &*hashed
            && known.0.expose_secret() == password.expose_secret()
        {
            return Ok(known.clone());
        }
        let given = password.clone();
        let hash = blocking(move || hash(&given)).await?;
        Ok(hashed.insert((password, hash)).clone())
    }

    fn refused(&self, connection: &Connection, result: ResultCode) -> Error {
        let who = match self.login.mode {
            AuthMode::Pki => "our certificate".to_owned(),
            _ => format!("user \"{}\"", self.login.user),
        };
        let (label, peer) = (&self.label, connection.peer());
        let message = format!("cluster \"{label}\" (node {peer}) does not let {who} in: {result}");
        if result.is_request_retryable() {
            return Error::temporary(LOGIN_REFUSED, message);
        }
        Error::permanent(LOGIN_REFUSED, message).hint(match result {
            ResultCode::SECURITY_NOT_SUPPORTED => {
                "This server knows no users (community edition): remove credentials from the cluster."
            }
            ResultCode::NOT_WHITELISTED => "Allow this machine's address for the user.",
            _ => "Check user, password and auth-mode of the cluster's credentials.",
        })
    }
}

/// What a server compares passwords by; only the first 72 bytes count, as for every client.
fn hash(password: &SecretString) -> Result<SecretString> {
    bcrypt::hash_with_salt(password.expose_secret(), COST, SALT)
        .map(|parts| parts.format_for_version(bcrypt::Version::TwoA).into())
        // The cause is not attached: it could say something of the password.
        .map_err(|_| Error::permanent("secret-malformed", "the password cannot be hashed"))
}

/// A message of the security protocol.
struct Message(Vec<u8>);

impl Message {
    fn new(command: u8) -> Self {
        let mut frame = Vec::with_capacity(256);
        wire::start_frame(&mut frame, FrameKind::Security);
        frame.extend_from_slice(&[0, 0, command, 0]);
        frame.extend_from_slice(&[0; HEADER_BYTES - 4]);
        Self(frame)
    }

    fn field(&mut self, id: u8, data: &[u8]) {
        wire::write_field(&mut self.0, id, &[data]);
        if let Some(count) = self.0.get_mut(wire::FRAME_HEADER_BYTES + 3) {
            *count += 1;
        }
    }
}

/// A password in clear may have been in it.
impl Drop for Message {
    fn drop(&mut self) {
        secrecy::zeroize::Zeroize::zeroize(&mut self.0);
    }
}

async fn exchange(connection: &mut Connection, mut message: Message) -> Result<(ResultCode, Vec<u8>)> {
    wire::finish_frame(&mut message.0);
    connection.send(&message.0, ANSWER_TIMEOUT).await?;
    let mut body = Vec::new();
    let arrival =
        connection.receive(FrameKind::Security, &mut body, ANSWER_BYTES_MAX, ANSWER_TIMEOUT).await?;
    if arrival == Arrival::Silence {
        return Err(lost(connection.peer(), format!("no login within {} ms", ANSWER_TIMEOUT.as_millis())));
    }
    let result = body.get(1).copied().filter(|_| body.len() >= HEADER_BYTES);
    let result = result.ok_or_else(|| connection.malformed(Malformed { what: "login answer" }))?;
    Ok((ResultCode(result), body))
}

/// The session that an answer grants.
pub(super) fn session(body: &[u8]) -> Result<Session, Malformed> {
    const WHAT: &str = "login answer";
    let mut cursor = Cursor::new(body);
    let [_, _, _, count, ..] = *cursor.array::<HEADER_BYTES>(WHAT)?;
    let (mut token, mut until) = (None, None);
    for _ in 0..count {
        let length = u32::from_be_bytes(*cursor.array(WHAT)?) as usize;
        let [id, data @ ..] = cursor.take(length, WHAT)? else { return Err(Malformed { what: WHAT }) };
        match *id {
            field::SESSION_TOKEN => token = Some(data.to_vec().into()),
            field::SESSION_TTL => {
                let seconds = u32::from_be_bytes(data.try_into().map_err(|_| Malformed { what: WHAT })?);
                let life = Duration::from_secs(seconds.into());
                // Half of one that is shorter than the margin.
                let used =
                    life.checked_sub(SESSION_MARGIN).filter(|left| !left.is_zero()).unwrap_or(life / 2);
                until = (seconds > 0).then(|| Instant::now() + used);
            }
            _ => {}
        }
    }
    Ok(Session { token: token.ok_or(Malformed { what: WHAT })?, until })
}

#[cfg(test)]
mod tests {
    use secrecy::{ExposeSecret, SecretString};

    use super::{Instant, hash, session};

    #[test]
    fn a_password_is_hashed_as_every_client_does() {
        // glibc's crypt() says the same.
        let known = "$2a$10$7EqJtq98hPqEX7fNZaFWoOqUH6KN8IKy3Yk5Kz..RHGKNAUCoP/LG";
        assert_eq!(hash(&SecretString::from("password")).unwrap().expose_secret(), known);
    }

    #[test]
    fn a_session_ends_a_minute_early_and_a_short_one_at_its_half() {
        let answer = |ttl: Option<u32>| {
            let mut body = vec![0; 16];
            body[3] = 1 + u8::from(ttl.is_some());
            body.extend([0, 0, 0, 4, 5, b'a', b'b', b'c']);
            body.extend(ttl.into_iter().flat_map(|ttl| [&[0, 0, 0, 5, 6][..], &ttl.to_be_bytes()].concat()));
            session(&body).unwrap().until.map(|until| (until - Instant::now()).as_secs() + 1)
        };
        assert_eq!(answer(None), None);
        assert_eq!(answer(Some(0)), None);
        assert_eq!(answer(Some(3600)), Some(3540));
        assert_eq!(answer(Some(60)), Some(30));
        for bad in [&[0; 15][..], &[0; 16], &[0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 5]]
        {
            assert!(session(bad).is_err());
        }
    }
}
