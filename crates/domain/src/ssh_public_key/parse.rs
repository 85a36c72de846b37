//! Reading one line of an `id_*.pub` file. Rules on values only.

use reeve_types::ssh_public_key::{ParsedKey, SshKeyType};
use ssh_key::public::KeyData;
use ssh_key::{EcdsaCurve, HashAlg, PublicKey};

/// Longest line, in bytes: an RSA key of 16384 bits takes less than 3 KiB.
const LONGEST: usize = 16 * 1024;
/// RSA moduli that are taken, in bits: what OpenSSH takes.
const RSA_BITS: std::ops::RangeInclusive<i64> = 1024..=16384;

/// Reads a public key in OpenSSH's format. The line that comes out has single spaces and no options.
///
/// # Errors
/// What is wrong with it, and what is right.
pub fn parse(text: &str) -> Result<ParsedKey, String> {
    let text = text.trim();
    if text.len() > LONGEST {
        return Err(format!("is longer than {LONGEST} bytes"));
    }
    // Never quoted back: it may be what must not be told.
    if text.contains("PRIVATE KEY") {
        return Err("is a private key: keep it to yourself and give the line of the .pub file".to_owned());
    }
    if text.starts_with("---- BEGIN SSH2") || text.starts_with("-----BEGIN") {
        return Err("is not in OpenSSH's format: convert it with `ssh-keygen -i -f FILE`".to_owned());
    }
    if text.contains(['\n', '\r', '\0']) || text.chars().any(|c| c.is_control() && c != '\t') {
        return Err("must be one line without control characters".to_owned());
    }
    let (algorithm, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let key_type = SshKeyType::parse(algorithm).ok_or_else(|| unknown_algorithm(algorithm))?;
    let (base64, comment) = rest.trim_start().split_once(char::is_whitespace).unwrap_or((rest.trim_start(), ""));
    if base64.is_empty() {
        return Err(format!("ends after `{algorithm}`: the key itself is missing"));
    }
    let comment = comment.trim();
    let key = PublicKey::from_openssh(&format!("{algorithm} {base64}"))
        .map_err(|error| format!("is not a key of type {algorithm}: {error}"))?;
    let bits = bits_of(key.key_data())?;
    if SshKeyType::parse(key.algorithm().as_str()) != Some(key_type) {
        return Err(format!("says {algorithm} and holds a key of another type"));
    }
    let mut line = format!("{algorithm} {base64}");
    if !comment.is_empty() {
        line.push(' ');
        line.push_str(comment);
    }
    let fingerprint = key.fingerprint(HashAlg::Sha256).to_string();
    Ok(ParsedKey { line, key_type, bits, fingerprint, comment: comment.to_owned() })
}

/// The part of a line that is the key: algorithm and base64.
pub(crate) fn material(line: &str) -> &str {
    let mut spaces = line.match_indices(' ').map(|(at, _)| at);
    match (spaces.next(), spaces.next()) {
        (Some(_), Some(second)) => &line[..second],
        _ => line,
    }
}

fn unknown_algorithm(word: &str) -> String {
    let known: Vec<&str> = SshKeyType::ALL.iter().map(|t| t.word()).collect();
    let known = known.join(", ");
    let printable = word.len() <= 64 && word.chars().all(|c| c.is_ascii_alphanumeric() || "-@._".contains(c));
    if !printable || word.is_empty() {
        format!("must start with the key's type, one of {known}")
    } else if word.contains("-cert-") {
        format!("is a certificate (`{word}`); give the plain public key, one of {known}")
    } else {
        format!("`{word}` is not supported; use one of {known}")
    }
}

fn bits_of(key: &KeyData) -> Result<i64, String> {
    match key {
        KeyData::Ed25519(_) => Ok(256),
        KeyData::Ecdsa(key) => {
            let point = key.as_sec1_bytes();
            let (bits, on_curve) = match key.curve() {
                EcdsaCurve::NistP256 => (256, p256::PublicKey::from_sec1_bytes(point).is_ok()),
                EcdsaCurve::NistP384 => (384, p384::PublicKey::from_sec1_bytes(point).is_ok()),
                EcdsaCurve::NistP521 => (521, p521::PublicKey::from_sec1_bytes(point).is_ok()),
            };
            let problem = "is no ECDSA key: its point does not lie on the curve; was the line copied whole?";
            on_curve.then_some(bits).ok_or_else(|| problem.to_owned())
        }
        KeyData::Rsa(rsa) => {
            let modulus = rsa.n.as_positive_bytes().ok_or("has a negative modulus")?;
            let leading = modulus.first().map_or(0, |byte| i64::from(byte.leading_zeros()));
            let bits = i64::try_from(modulus.len()).unwrap_or(i64::MAX).saturating_mul(8) - leading;
            if !RSA_BITS.contains(&bits) {
                return Err(format!(
                    "has {bits} bits; an RSA key must have {} to {}",
                    RSA_BITS.start(),
                    RSA_BITS.end()
                ));
            }
            let exponent = rsa.e.as_positive_bytes().unwrap_or_default();
            let is_odd = exponent.last().is_some_and(|byte| byte & 1 == 1);
            if !is_odd || exponent == [1] || modulus.last().is_some_and(|byte| byte & 1 == 0) {
                return Err("is no RSA key: its numbers do not fit".to_owned());
            }
            Ok(bits)
        }
        _ => Err("is of a type that is not supported".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made with ssh-keygen, which also gave the fingerprints.
    const ED: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDhVX/7vyodHPimN2fnuT1inLDnEkkMwov/ZqBn3Fzos ann@laptop";
    const EC256: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBHpp8P623ePA8pI1RUA+7a85taDVy5SHevih6g+JqEZZhQOaNwlo5RQrH0jg9XNUtQsJkogM+QICHA0SjlBWCZI= ann ec 256";
    const EC384: &str = "ecdsa-sha2-nistp384 AAAAE2VjZHNhLXNoYTItbmlzdHAzODQAAAAIbmlzdHAzODQAAABhBKenOmPx6pDX/WJRswc2OJ2RLMw6DRiKeFFyY6K28KWRLo1+jdht2ubtQ0KnkOH9QNFKE4BS8kjOiiQn5QsL8iMMaZpqocGBGX7y6fXGpU/f5+Z8qD47Iqx/SSL9bo4pag== ann ec 384";
    const EC521: &str = "ecdsa-sha2-nistp521 AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBAGiTGxQrFB667Zv5YSll+If0tvpq2KLbRN4jrV7ao/tJhiz9d6GLiR3oBw9pmaV5cqu5bX4baTAd+ib/G2hexlK6ABvkVp7z22s+rEIFteNov+sVS1K+mIG5zKwkBKwUY/p8kyMVvY2TUN68UtugvoBRIWy6w6q6B1rYsPvUdao2LR/+g== ann ec 521";
    const RSA: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQDHYErpZhWUWcHU+5RJVBbMbenL4TC0SR3tk4TtP/NLCAO6xv//+m7clRlVoxGhnKzViGZYzYcSwFFu3k5buZNAPPdlr7QqKsMKybIoPt4eKqiSknh+2qiZmmSSU+OJ5niXMqGQ3EtdokPzn4LRWXLQl++0nQNfbMDXQeqIJT+fDmxo3mzHWfRZwNkUhiSwWi97PdggkQ+/Jf8a+b4ZtPWiHSHdnrCb9BYNE67b69I+53lO5EVVlqf15uGRLkyh3HlbYD0IKlBxeVoSGByKqAV0EHPn//Ag5ZdEFIxGErnGp7S4cncCCyGauefruuhNnrL+aMFfmGwRLVHZzX0yzCWP";
    const RSA_768: &str = "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAYQCAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAq1SpjOsfCtM=";

    #[test]
    fn the_five_types_are_read() {
        for (line, key_type, bits, fingerprint, comment) in [
            (ED, SshKeyType::Ed25519, 256, "SHA256:fCSzWm4WZjKWn2q0kxjaRVCL3VTh83j2p4/UHYvabLc", "ann@laptop"),
            (EC256, SshKeyType::EcdsaP256, 256, "SHA256:xdiXPgq3kA7TlnX4AlAlE56M0DRCmw03iz0S9m1VHF4", "ann ec 256"),
            (EC384, SshKeyType::EcdsaP384, 384, "SHA256:pXNIg68Kw301uvVV2VehvgUhOgvZCdGeg3pjk5ndB+4", "ann ec 384"),
            (EC521, SshKeyType::EcdsaP521, 521, "SHA256:u+J/eRNCi2o8s+9RIHatypu79xuWqULZoJG3Cbtouvs", "ann ec 521"),
            (RSA, SshKeyType::Rsa, 2048, "SHA256:6c6hv7+cG70W6zfUS2rMQyCQKWvTpXLYKJMjDFPOwYc", ""),
        ] {
            let key = parse(line).unwrap();
            assert_eq!(
                (key.key_type, key.bits, &*key.fingerprint, &*key.comment),
                (key_type, bits, fingerprint, comment)
            );
            assert_eq!(key.line, line);
            assert_eq!(material(&key.line), line.strip_suffix(comment).unwrap().trim_end());
        }
    }

    #[test]
    fn spaces_are_tidied() {
        let (algorithm, rest) = ED.split_once(' ').unwrap();
        assert_eq!(parse(&format!("  {algorithm} \t  {rest}  \n")).unwrap().line, ED);
    }

    #[test]
    fn anything_else_says_what_is_wrong() {
        let (_, ed_base64) = ED.split_once(' ').unwrap();
        for (line, problem) in [
            ("", "must start with the key's type"),
            ("hello there", "`hello` is not supported; use one of ssh-ed25519"),
            ("ssh-dss AAAAB3NzaC1kc3MAAACB", "`ssh-dss` is not supported"),
            ("sk-ssh-ed25519@openssh.com AAAA", "is not supported"),
            ("ssh-ed25519-cert-v01@openssh.com AAAA", "is a certificate"),
            ("command=\"rm -rf /\" ssh-ed25519 AAAA", "must start with the key's type"),
            ("ssh-ed25519", "the key itself is missing"),
            ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI", "is not a key of type ssh-ed25519"),
            ("ssh-ed25519 !!!!", "is not a key of type ssh-ed25519"),
            (&format!("ssh-rsa {ed_base64}"), "is not a key of type ssh-rsa"),
            (&ED.replacen(' ', "A ", 1), "is not supported"),
            (&format!("{ED}\nssh-ed25519 AAAA second"), "must be one line"),
            (&format!("{ED} \u{1b}[31m"), "must be one line"),
            (RSA_768, "has 768 bits"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Blbn", "is a private key"),
            ("---- BEGIN SSH2 PUBLIC KEY ----", "convert it with"),
            (&format!("{ED} {}", "x".repeat(LONGEST)), "is longer than"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(problem), "{line}: {error}");
        }
    }

    #[test]
    fn a_point_must_lie_on_its_curve() {
        use base64::Engine;
        use base64::engine::general_purpose::STANDARD;
        for line in [EC256, EC384, EC521] {
            let mut words = line.split(' ');
            let (algorithm, base64) = (words.next().unwrap(), words.next().unwrap());
            let mut blob = STANDARD.decode(base64).unwrap();
            *blob.last_mut().unwrap() ^= 1;
            let error = parse(&format!("{algorithm} {}", STANDARD.encode(&blob))).unwrap_err();
            assert!(error.contains("does not lie on the curve"), "{algorithm}: {error}");
        }
    }

    #[test]
    fn a_key_with_something_behind_it_is_none() {
        use base64::Engine;
        use base64::engine::general_purpose::STANDARD;
        let base64 = ED.split(' ').nth(1).unwrap();
        let mut blob = STANDARD.decode(base64).unwrap();
        blob.push(0);
        assert!(parse(&format!("ssh-ed25519 {}", STANDARD.encode(&blob))).is_err());
        for cut in 0..blob.len() - 1 {
            assert!(parse(&format!("ssh-ed25519 {}", STANDARD.encode(&blob[..cut]))).is_err(), "{cut}");
        }
    }
}
