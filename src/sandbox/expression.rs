//! Filter expressions: parsed and type-checked once, then asked of each record.
//!
//! An unknown value (a bin that is not there, or of another type) makes a comparison unknown; AND, OR and NOT
//! follow three-valued logic; a record passes when the whole is true. The known operations are listed in
//! `sandbox.rs`.

use std::cmp::Ordering;

use super::digest::Digest;
use super::msgpack::{self, Element};
use super::proto::{BIN_NAME_MAX, Reader, kind};
use super::store::{Record, unix_ms};

/// Deepest nesting; ours, so that hostile bytes cannot exhaust the stack.
const DEPTH_MAX: u32 = 64;

/// A filter.
#[derive(Debug)]
pub(super) struct Filter(Expr);

/// The record a filter is asked of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    pub digest: &'a Digest,
    pub record: &'a Record,
    pub now_ms: u64,
}

impl Filter {
    /// Parses the data of a filter field; `None` when malformed, unknown to us, or not a condition.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let mut reader = Reader(data);
        let (expr, of) = parse(&mut reader, DEPTH_MAX)?;
        (of == Type::Bool && reader.0.is_empty()).then_some(Self(expr))
    }

    /// Whether the record passes.
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        matches!(self.0.eval(subject), Some(Value::Bool(true)))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Nil,
    Bool,
    Int,
    Float,
    String,
    Blob,
}

impl Type {
    /// From the number that bin and key expressions carry.
    fn from_code(code: i64) -> Option<Self> {
        Some(match code {
            1 => Self::Bool,
            2 => Self::Int,
            3 => Self::String,
            6 => Self::Blob,
            7 => Self::Float,
            _ => return None,
        })
    }
}

#[derive(Debug)]
enum Literal {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Bytes(Vec<u8>),
}

#[derive(Debug, Clone, Copy)]
enum Value<'a> {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Bytes(&'a [u8]),
}

#[derive(Debug, Clone, Copy)]
enum Comparison {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
}

#[derive(Debug, Clone, Copy)]
enum Meta {
    DeviceSize,
    LastUpdate,
    SinceUpdate,
    VoidTime,
    Ttl,
    SetName,
    KeyExists,
    IsTombstone,
    RecordSize,
}

#[derive(Debug)]
enum Expr {
    Unknown,
    Literal(Literal),
    Compare(Comparison, Box<(Expr, Expr)>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Exclusive(Vec<Expr>),
    Not(Box<Expr>),
    Meta(Meta),
    DigestModulo(i32),
    Key(Type),
    Bin(Type, Vec<u8>),
    BinType(Vec<u8>),
}

fn parse(reader: &mut Reader<'_>, depth: u32) -> Option<(Expr, Type)> {
    let depth = depth.checked_sub(1)?;
    let literal = |literal, of| Some((Expr::Literal(literal), of));
    match msgpack::next(reader)? {
        Element::Nil => literal(Literal::Nil, Type::Nil),
        Element::Bool(value) => literal(Literal::Bool(value), Type::Bool),
        Element::Int(value) => literal(Literal::Int(value), Type::Int),
        Element::Float(value) => literal(Literal::Float(value), Type::Float),
        Element::Bytes(bytes) => match bytes.split_first()? {
            (&kind::STRING, text) => literal(Literal::Bytes(text.to_vec()), Type::String),
            (&kind::BLOB, blob) => literal(Literal::Bytes(blob.to_vec()), Type::Blob),
            _ => None,
        },
        Element::List(count) => operation(reader, count.checked_sub(1)?, depth),
        Element::Map(_) | Element::Extension => None,
    }
}

/// An operation with `count` arguments.
fn operation(reader: &mut Reader<'_>, count: u32, depth: u32) -> Option<(Expr, Type)> {
    let code = integer(reader)?;
    let arguments = |expected: u32| (count == expected).then_some(());
    Some(match code {
        0 => {
            arguments(0)?;
            (Expr::Unknown, Type::Bool)
        }
        1..=6 => {
            arguments(2)?;
            let (left, left_type) = parse(reader, depth)?;
            let (right, right_type) = parse(reader, depth)?;
            if left_type != right_type {
                return None;
            }
            (Expr::Compare(comparison(code)?, Box::new((left, right))), Type::Bool)
        }
        16 => (Expr::And(conditions(reader, count, depth)?), Type::Bool),
        17 => (Expr::Or(conditions(reader, count, depth)?), Type::Bool),
        18 => {
            arguments(1)?;
            (Expr::Not(Box::new(condition(reader, depth)?)), Type::Bool)
        }
        19 => (Expr::Exclusive(conditions(reader, count, depth)?), Type::Bool),
        64 => {
            arguments(1)?;
            let modulus = integer(reader)? as i32;
            if modulus == 0 {
                return None;
            }
            (Expr::DigestModulo(modulus), Type::Int)
        }
        65..=72 | 74 => {
            arguments(0)?;
            let (meta, of) = meta(code)?;
            (Expr::Meta(meta), of)
        }
        80 => {
            arguments(1)?;
            let of = Type::from_code(integer(reader)?)
                .filter(|of| matches!(of, Type::Int | Type::String | Type::Blob))?;
            (Expr::Key(of), of)
        }
        81 => {
            arguments(2)?;
            let of = Type::from_code(integer(reader)?)?;
            (Expr::Bin(of, bin_name(reader)?), of)
        }
        82 => {
            arguments(1)?;
            (Expr::BinType(bin_name(reader)?), Type::Int)
        }
        _ => return None,
    })
}

fn comparison(code: i64) -> Option<Comparison> {
    Some(match code {
        1 => Comparison::Eq,
        2 => Comparison::Ne,
        3 => Comparison::Gt,
        4 => Comparison::Ge,
        5 => Comparison::Lt,
        6 => Comparison::Le,
        _ => return None,
    })
}

fn meta(code: i64) -> Option<(Meta, Type)> {
    Some(match code {
        65 => (Meta::DeviceSize, Type::Int),
        66 => (Meta::LastUpdate, Type::Int),
        67 => (Meta::SinceUpdate, Type::Int),
        68 => (Meta::VoidTime, Type::Int),
        69 => (Meta::Ttl, Type::Int),
        70 => (Meta::SetName, Type::String),
        71 => (Meta::KeyExists, Type::Bool),
        72 => (Meta::IsTombstone, Type::Bool),
        74 => (Meta::RecordSize, Type::Int),
        _ => return None,
    })
}

fn integer(reader: &mut Reader<'_>) -> Option<i64> {
    match msgpack::next(reader)? {
        Element::Int(value) => Some(value),
        _ => None,
    }
}

fn bin_name(reader: &mut Reader<'_>) -> Option<Vec<u8>> {
    match msgpack::next(reader)? {
        Element::Bytes(name) if name.len() <= BIN_NAME_MAX => Some(name.to_vec()),
        _ => None,
    }
}

fn condition(reader: &mut Reader<'_>, depth: u32) -> Option<Expr> {
    let (expr, of) = parse(reader, depth)?;
    (of == Type::Bool).then_some(expr)
}

/// At least two, as on the server.
fn conditions(reader: &mut Reader<'_>, count: u32, depth: u32) -> Option<Vec<Expr>> {
    if count < 2 {
        return None;
    }
    (0..count).map(|_| condition(reader, depth)).collect()
}

impl Expr {
    /// The value, or `None` for unknown.
    fn eval<'a>(&'a self, subject: &Subject<'a>) -> Option<Value<'a>> {
        match self {
            Self::Unknown => None,
            Self::Literal(literal) => Some(match literal {
                Literal::Nil => Value::Nil,
                Literal::Bool(value) => Value::Bool(*value),
                Literal::Int(value) => Value::Int(*value),
                Literal::Float(value) => Value::Float(*value),
                Literal::Bytes(bytes) => Value::Bytes(bytes),
            }),
            Self::Compare(comparison, pair) => {
                let (left, right) = (pair.0.eval(subject)?, pair.1.eval(subject)?);
                Some(Value::Bool(comparison.holds(left, right)))
            }
            Self::And(all) => decided_by(all, subject, false),
            Self::Or(any) => decided_by(any, subject, true),
            Self::Exclusive(all) => {
                let mut held = 0;
                for expr in all {
                    held += i32::from(expr.truth(subject)?);
                    if held > 1 {
                        break;
                    }
                }
                Some(Value::Bool(held == 1))
            }
            Self::Not(expr) => Some(Value::Bool(!expr.truth(subject)?)),
            Self::Meta(meta) => Some(meta.eval(subject)),
            Self::DigestModulo(modulus) => {
                let tail = subject.digest.last_chunk::<4>()?;
                Some(Value::Int(i64::from(u32::from_le_bytes(*tail)) % i64::from(*modulus)))
            }
            Self::Key(of) => {
                let (kind, key) = subject.record.key.as_ref()?.split_first()?;
                value(*kind, key, *of)
            }
            Self::Bin(of, name) => {
                let bin = subject.record.bin(name)?;
                value(bin.kind, &bin.value, *of)
            }
            Self::BinType(name) => {
                Some(Value::Int(subject.record.bin(name).map_or(0, |bin| i64::from(bin.kind))))
            }
        }
    }

    fn truth(&self, subject: &Subject<'_>) -> Option<bool> {
        match self.eval(subject) {
            Some(Value::Bool(value)) => Some(value),
            _ => None,
        }
    }
}

/// AND is decided by a false, OR by a true; else unknown if one was unknown.
fn decided_by<'a>(exprs: &[Expr], subject: &Subject<'_>, decisive: bool) -> Option<Value<'a>> {
    let mut result = Some(!decisive);
    for expr in exprs {
        match expr.truth(subject) {
            Some(value) if value == decisive => return Some(Value::Bool(decisive)),
            Some(_) => {}
            None => result = None,
        }
    }
    result.map(Value::Bool)
}

/// A particle as a value of the declared type; unknown when it has another.
fn value(kind: u8, bytes: &[u8], of: Type) -> Option<Value<'_>> {
    Some(match (of, kind) {
        (Type::Int, kind::INTEGER) => Value::Int(i64::from_be_bytes(bytes.try_into().ok()?)),
        (Type::Float, kind::FLOAT) => Value::Float(f64::from_be_bytes(bytes.try_into().ok()?)),
        (Type::Bool, kind::BOOL) => Value::Bool(bytes.first()? != &0),
        (Type::String, kind::STRING) | (Type::Blob, kind::BLOB) => Value::Bytes(bytes),
        _ => return None,
    })
}

impl Comparison {
    /// Both sides have the same type: checked when parsing.
    fn holds(self, left: Value<'_>, right: Value<'_>) -> bool {
        let order = match (left, right) {
            (Value::Nil, Value::Nil) => Some(Ordering::Equal),
            (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(&right)),
            (Value::Int(left), Value::Int(right)) => Some(left.cmp(&right)),
            (Value::Float(left), Value::Float(right)) => left.partial_cmp(&right),
            (Value::Bytes(left), Value::Bytes(right)) => Some(left.cmp(right)),
            _ => None,
        };
        match self {
            Self::Eq => order == Some(Ordering::Equal),
            Self::Ne => order != Some(Ordering::Equal),
            Self::Gt => order == Some(Ordering::Greater),
            Self::Ge => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
            Self::Lt => order == Some(Ordering::Less),
            Self::Le => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        }
    }
}

impl Meta {
    fn eval<'a>(self, subject: &Subject<'a>) -> Value<'a> {
        let record = subject.record;
        let now_s = subject.now_ms / 1000;
        let unix_ns = |ms: u64| unix_ms(ms).saturating_mul(1_000_000);
        Value::Int(match self {
            Self::DeviceSize => 0,
            Self::LastUpdate => unix_ns(record.last_update_ms),
            Self::SinceUpdate => subject.now_ms.saturating_sub(record.last_update_ms) as i64,
            Self::VoidTime | Self::Ttl if record.void_time == 0 => -1,
            Self::VoidTime => unix_ns(u64::from(record.void_time) * 1000),
            Self::Ttl => u64::from(record.void_time).saturating_sub(now_s) as i64,
            Self::SetName => return Value::Bytes(&record.set.name),
            Self::KeyExists => return Value::Bool(record.key.is_some()),
            // Only the enterprise edition leaves tombstones.
            Self::IsTombstone => return Value::Bool(false),
            Self::RecordSize => record.size() as i64,
        })
    }
}
