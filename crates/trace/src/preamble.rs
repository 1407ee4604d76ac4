//! [`Preamble`]: what a trace begins with.

use crate::broken::Broken;
use std::io::Read;

/// The last byte is the version of the form.
const MAGIC: [u8; 8] = *b"RWTRACE\x01";
/// The most bytes of a text, and the most policies: far more than anybody has.
const LONGEST: u32 = 16 << 20;
const MOST: u32 = 1024;

/// Whose filters judged, and by what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preamble {
    /// The kernel model whose context requests show.
    pub model: String,
    /// The files of the policies that were in force.
    pub policies: Vec<Policy>,
}

/// A file of a policy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Its name.
    pub file: String,
    /// What was in it.
    pub text: String,
}

impl Preamble {
    /// The first bytes of a trace.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        let mut text = |text: &str| {
            bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        };
        text(&self.model);
        text(&self.policies.len().to_string());
        for policy in &self.policies {
            text(&policy.file);
            text(&policy.text);
        }
        bytes
    }

    pub(crate) fn read(from: &mut impl Read) -> Result<Self, Broken> {
        let mut magic = [0; MAGIC.len()];
        from.read_exact(&mut magic)?;
        if magic != MAGIC {
            return Err(Broken::Version);
        }
        let model = text(from, LONGEST)?;
        let policies = text(from, LONGEST)?.parse().ok().filter(|count| *count <= MOST);
        let policies = policies.ok_or(Broken::Form("the number of policies"))?;
        let policies = (0..policies)
            .map(|_| Ok(Policy { file: text(from, LONGEST)?, text: text(from, LONGEST)? }))
            .collect::<Result<_, Broken>>()?;
        Ok(Self { model, policies })
    }
}

/// Reads a text of at most `longest` bytes, with its length before it.
pub(crate) fn text(from: &mut impl Read, longest: u32) -> Result<String, Broken> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > longest {
        return Err(Broken::Form("the length of a text"));
    }
    // No more memory than there are bytes.
    let mut bytes = Vec::new();
    if from.take(length.into()).read_to_end(&mut bytes)? < length as usize {
        return Err(Broken::Read(std::io::ErrorKind::UnexpectedEof.into()));
    }
    String::from_utf8(bytes).map_err(|_| Broken::Form("a text"))
}
