//! The info protocol: lines of text in, `command TAB value` lines out (asb.md 7.1).

use std::time::Duration;

use crate::error::{Error, Result};

use super::conn::{Arrival, Connection, lost};
use super::result_code::ResultCode;
use super::wire::{self, FrameKind, Malformed};

/// Longest silence before an answer. Commands that change the cluster's metadata wait for all nodes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// Largest answer taken. A UDF has at most 1 MiB, a namespace at most a few thousand sets and 256 indexes.
const ANSWER_BYTES_MAX: usize = 32 << 20;

/// Asks `commands` in one request and returns the values in the same order, as bytes.
pub(super) async fn exchange(connection: &mut Connection, commands: &[&[u8]]) -> Result<Vec<Vec<u8>>> {
    let mut frame = Vec::new();
    wire::start_frame(&mut frame, FrameKind::Info);
    for command in commands {
        frame.extend_from_slice(command);
        frame.push(b'\n');
    }
    wire::finish_frame(&mut frame);
    connection.send(&frame, ANSWER_TIMEOUT).await?;
    let arrival = connection.receive(FrameKind::Info, &mut frame, ANSWER_BYTES_MAX, ANSWER_TIMEOUT).await?;
    if arrival == Arrival::Silence {
        let peer = connection.peer();
        return Err(lost(peer, format!("no answer within {} ms", ANSWER_TIMEOUT.as_millis())));
    }
    parse_answers(&frame, commands).map_err(|error| connection.malformed(error))
}

pub(super) fn parse_answers(body: &[u8], commands: &[&[u8]]) -> Result<Vec<Vec<u8>>, Malformed> {
    const MALFORMED: Malformed = Malformed { what: "info answer" };
    let mut lines = body.split(|byte| *byte == b'\n');
    commands
        .iter()
        .map(|command| {
            let line = lines.next().ok_or(MALFORMED)?;
            match line.strip_prefix(*command).and_then(|rest| rest.split_first()) {
                Some((b'\t', value)) => Ok(value.to_vec()),
                None if line == *command => Ok(Vec::new()),
                _ => Err(MALFORMED),
            }
        })
        .collect()
}

/// A refusal in words: `ERROR:<code>:<text>`, `FAIL…`, `error=…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The result code, where there is one.
    pub(super) code: Option<ResultCode>,
    /// The server's words.
    pub(super) text: String,
}

/// The refusal that `value` is, if it is one.
pub(super) fn refusal(value: &[u8]) -> Option<Refusal> {
    const TEXT_CHARS_MAX: usize = 300;
    let starts = |word: &[u8]| {
        // a namespace may be called "errors": the word must end there
        value.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word))
            && matches!(value.get(word.len()), None | Some(b':' | b' ' | b'='))
    };
    if !starts(b"ERROR") && !starts(b"FAIL") {
        return None;
    }
    let text: String = String::from_utf8_lossy(value).chars().take(TEXT_CHARS_MAX).collect();
    let code = text.split(':').nth(1).and_then(|word| word.parse().ok()).map(ResultCode);
    Some(Refusal { code, text })
}

/// Whether a node has answered that it does not know (any more) who asks.
pub(super) fn is_session_lost(answers: &[Vec<u8>]) -> bool {
    answers.iter().any(|answer| {
        refusal(answer).and_then(|refusal| refusal.code).is_some_and(ResultCode::is_session_lost)
    })
}

/// `answer`, unless it is a refusal of `command`.
pub(super) fn accepted(answer: Vec<u8>, command: &[u8]) -> Result<Vec<u8>> {
    match refusal(&answer) {
        None => Ok(answer),
        Some(refusal) => Err(refused(&refusal, command)),
    }
}

/// The error for a refusal of `command`.
pub(super) fn refused(refusal: &Refusal, command: &[u8]) -> Error {
    const COMMAND_CHARS_MAX: usize = 120; // a UDF travels inside its command
    let command: String = String::from_utf8_lossy(command).chars().take(COMMAND_CHARS_MAX).collect();
    let message = format!("the cluster answered \"{}\" to \"{command}\"", refusal.text);
    match refusal.code {
        Some(code) if code.is_request_retryable() => Error::temporary("info-refused", message),
        _ => Error::permanent("info-refused", message),
    }
}

/// The `key=value` pairs of `text`, split at `separator` and at the first `=`.
pub(super) fn pairs(text: &[u8], separator: u8) -> impl Iterator<Item = (&[u8], &[u8])> {
    text.split(move |byte| *byte == separator).filter_map(|pair| {
        let at = memchr::memchr(b'=', pair)?;
        Some((pair.get(..at)?, pair.get(at + 1..)?))
    })
}

/// Whether `text` is pairs and nothing else: else a name holds the separator, and no part of it can be trusted.
pub(super) fn is_pairs(text: &[u8], separator: u8) -> bool {
    text.split(|byte| *byte == separator).all(|pair| pair.is_empty() || pair.contains(&b'='))
}

/// The value of `key` among `pairs`, without regard to the case of the key.
pub(super) fn value_of<'a>(text: &'a [u8], separator: u8, key: &str) -> Option<&'a [u8]> {
    pairs(text, separator).find(|(name, _)| name.eq_ignore_ascii_case(key.as_bytes())).map(|(_, value)| value)
}

/// The number that `key` has.
pub(super) fn number_of(text: &[u8], separator: u8, key: &str) -> Option<u64> {
    std::str::from_utf8(value_of(text, separator, key)?).ok()?.trim().parse().ok()
}

/// `name`, if it can stand in an info command: separators and control characters would make another command of it.
pub(super) fn check_parameter<'a>(name: &'a [u8], what: &str) -> Result<&'a [u8]> {
    if name.is_empty() || name.iter().any(|byte| matches!(byte, b';' | b':' | b'=' | b',') || *byte < b' ') {
        return Err(Error::permanent(
            "name-unsendable",
            format!("{what} \"{}\" cannot be sent in an info command", String::from_utf8_lossy(name)),
        ));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::{Refusal, check_parameter, number_of, parse_answers, refusal, value_of};
    use crate::aerospike::ResultCode;

    #[test]
    fn answers_come_in_the_order_of_the_commands_and_keep_their_bytes() {
        let commands: [&[u8]; 3] = [b"node", b"sets/ns", b"empty"];
        let answers = parse_answers(b"node\tA1\nsets/ns\tset=\xff\xfe\ttab\nempty\t\n", &commands).unwrap();
        assert_eq!(answers, [b"A1".to_vec(), b"set=\xff\xfe\ttab".to_vec(), Vec::new()]);
    }

    #[test]
    fn an_answer_to_another_command_is_malformed() {
        assert!(parse_answers(b"build\t8.1\n", &[b"node"]).is_err());
        assert!(parse_answers(b"", &[b"node", b"build"]).is_err());
        assert!(parse_answers(b"nodes\tx\n", &[b"node"]).is_err());
    }

    #[test]
    fn refusals_are_found_in_each_spelling() {
        let code = |text: &[u8]| refusal(text).map(|Refusal { code, .. }| code);
        assert_eq!(code(b"ERROR:200:index already exists"), Some(Some(ResultCode(200))));
        assert_eq!(code(b"FAIL:201:no index"), Some(Some(ResultCode(201))));
        assert_eq!(code(b"error=not_found"), Some(None));
        assert_eq!(code(b"Error Security not supported"), Some(None));
        assert_eq!(code(b"ok"), None);
        assert_eq!(code(b"errors;failures"), None);
    }

    #[test]
    fn values_are_split_at_the_first_equals_sign() {
        let entry = b"ns=test:context=lhABI8zIIqMDaWQ=:Objects=12";
        assert_eq!(value_of(entry, b':', "context"), Some(&b"lhABI8zIIqMDaWQ="[..]));
        assert_eq!(number_of(entry, b':', "objects"), Some(12));
        assert_eq!(number_of(entry, b':', "ns"), None);
    }

    #[test]
    fn a_name_that_would_become_another_command_is_refused() {
        for bad in [&b""[..], b"a;b", b"a\nb", b"a:b", b"a=b", b"a,b", b"\0"] {
            assert_eq!(check_parameter(bad, "set").unwrap_err().code(), "name-unsendable", "{bad:?}");
        }
        assert!(check_parameter(b"demo-1_\xff", "set").is_ok());
    }
}
