//! The root key and certificate, and what is signed with them.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;

use super::CaError;

/// The file of the state directory that holds the root: key and certificate together, so
/// that one never exists without the other.
const ROOT_FILE: &str = "root.pem";
/// The mode of the state directory: nobody but its owner.
const DIRECTORY_MODE: u32 = 0o700;
/// The mode of its files.
const FILE_MODE: u32 = 0o600;
/// How long a root is valid. It is as easily replaced as deleted; ten years is beyond
/// what a local mesh lives.
const ROOT_LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// How far before its making a certificate is valid, for clocks that run behind.
const BACKDATE: Duration = Duration::from_secs(60);

/// The authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    root_pem: String,
}

/// A key with its certificate.
#[derive(Clone)]
pub struct IssuedCertificate {
    /// The certificate, as PEM.
    pub certificate_pem: String,
    /// Its key, as PKCS #8 PEM.
    pub key_pem: String,
    /// When it was made.
    pub issued_at: SystemTime,
    /// When it ends.
    pub expires_at: SystemTime,
}

impl std::fmt::Debug for IssuedCertificate {
    /// Without the key.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IssuedCertificate")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// The authority of a state directory: the one stored there, or a new one.
    ///
    /// # Errors
    /// The directory cannot be used, or what is stored is broken, expired or of another
    /// trust domain: it is never replaced silently, since every proxy trusts it.
    pub fn open(directory: &Path, trust_domain: &str, now: SystemTime) -> Result<Self, CaError> {
        private_directory(directory)?;
        let path = directory.join(ROOT_FILE);
        if let Some(stored) = read_private(&path)? {
            return Self::from_stored(&path, &stored, trust_domain, now);
        }
        let key = KeyPair::generate()?;
        let certificate = root_params(trust_domain, now)?.self_signed(&key)?;
        let stored = format!("{}{}", key.serialize_pem(), certificate.pem());
        match write_new(directory, &path, &stored) {
            Ok(()) => Self::from_stored(&path, &stored, trust_domain, now),
            // Another process was first: its root is the one.
            Err(CaError::File { error, .. }) if error.kind() == io::ErrorKind::AlreadyExists => {
                let stored = read_private(&path)?.unwrap_or_default();
                Self::from_stored(&path, &stored, trust_domain, now)
            }
            Err(error) => Err(error),
        }
    }

    fn from_stored(path: &Path, stored: &str, trust_domain: &str, now: SystemTime) -> Result<Self, CaError> {
        let broken = |reason: String| CaError::Root {
            path: path.to_owned(),
            reason,
        };
        let starts_at = stored.find("-----BEGIN CERTIFICATE-----");
        let starts_at = starts_at.ok_or_else(|| broken("holds no certificate".to_owned()))?;
        let (key, root_pem) = stored.split_at(starts_at);
        let key = KeyPair::from_pem(key).map_err(|error| broken(format!("holds no usable key: {error}")))?;
        let (_, pem) = parse_x509_pem(root_pem.as_bytes()).map_err(|error| broken(error.to_string()))?;
        let certificate = pem.parse_x509().map_err(|error| broken(error.to_string()))?;
        if certificate.public_key().subject_public_key.data != key.public_key_raw() {
            return Err(broken("its key is not its certificate's".to_owned()));
        }
        let expires_at = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
        if SystemTime::UNIX_EPOCH + Duration::from_secs(expires_at) <= now {
            let reason = format!(
                "expired on {}; remove it to make a new root",
                certificate.validity().not_after
            );
            return Err(broken(reason));
        }
        let sans = certificate.subject_alternative_name().ok().flatten();
        let uris = sans
            .iter()
            .flat_map(|sans| &sans.value.general_names)
            .filter_map(|name| match name {
                GeneralName::URI(uri) => Some(*uri),
                _ => None,
            });
        let uris: Vec<&str> = uris.collect();
        if uris != [format!("spiffe://{trust_domain}")] {
            let found = uris.join(", ");
            return Err(broken(format!(
                "is the root of {found}, not of spiffe://{trust_domain}"
            )));
        }
        Ok(Self {
            issuer: Issuer::from_ca_cert_pem(root_pem, key)?,
            root_pem: root_pem.to_owned(),
        })
    }

    /// The root certificate, as PEM.
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// Issues a certificate for a SPIFFE ID, with a key of its own, good for both ends of
    /// a connection (SPIFFE X.509-SVID, sections 3 and 4: the ID is the only name).
    ///
    /// # Errors
    /// The ID is not ASCII, or the crypto library fails.
    pub fn issue(&self, spiffe_id: &str, lifetime: Duration, now: SystemTime) -> Result<IssuedCertificate, CaError> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.not_before = (now - BACKDATE).into();
        params.not_after = (now + lifetime).into();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = vec![SanType::URI(spiffe_id.try_into()?)];
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(IssuedCertificate {
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
            issued_at: now,
            expires_at: now + lifetime,
        })
    }
}

fn root_params(trust_domain: &str, now: SystemTime) -> Result<CertificateParams, CaError> {
    let mut params = CertificateParams::default();
    params.not_before = (now - BACKDATE).into();
    params.not_after = (now + ROOT_LIFETIME).into();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "remora");
    params
        .distinguished_name
        .push(DnType::CommonName, format!("{trust_domain} root"));
    params.subject_alt_names = vec![SanType::URI(format!("spiffe://{trust_domain}").as_str().try_into()?)];
    // It signs leaves and nothing in between.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn file_error(path: &Path) -> impl Fn(io::Error) -> CaError {
    let path: PathBuf = path.to_owned();
    move |error| CaError::File {
        path: path.clone(),
        error,
    }
}

/// Makes the directory, or takes others' rights on it away.
fn private_directory(directory: &Path) -> Result<(), CaError> {
    let wrong = file_error(directory);
    let made = DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(directory);
    made.map_err(&wrong)?;
    restrict(directory, DIRECTORY_MODE)
}

fn restrict(path: &Path, mode: u32) -> Result<(), CaError> {
    let wrong = file_error(path);
    let found = std::fs::metadata(path).map_err(&wrong)?.permissions().mode() & 0o777;
    if found & !mode != 0 {
        tracing::warn!(path = %path.display(), "others had rights on it ({found:o}); now it is {mode:o}");
        std::fs::set_permissions(path, Permissions::from_mode(mode)).map_err(&wrong)?;
    }
    Ok(())
}

fn read_private(path: &Path) -> Result<Option<String>, CaError> {
    let mut text = String::new();
    match File::open(path) {
        Ok(mut file) => file.read_to_string(&mut text).map_err(file_error(path))?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file_error(path)(error)),
    };
    restrict(path, FILE_MODE)?;
    Ok(Some(text))
}

/// Writes a file that must not exist yet; after a crash it is there in full or not at all.
fn write_new(directory: &Path, path: &Path, text: &str) -> Result<(), CaError> {
    let draft = directory.join(format!(".{ROOT_FILE}.{}", std::process::id()));
    let wrong = file_error(&draft);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(FILE_MODE)
        .open(&draft)
        .map_err(&wrong)?;
    file.write_all(text.as_bytes())
        .and_then(|()| file.sync_all())
        .map_err(&wrong)?;
    // A link, unlike a rename, does not replace a file that another process made meanwhile.
    let linked = std::fs::hard_link(&draft, path);
    std::fs::remove_file(&draft).map_err(&wrong)?;
    linked.map_err(file_error(path))?;
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .map_err(file_error(directory))
}
