//! Logging in: SCRAM-SHA-256 (RFC 5802, RFC 7677).

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion_postgres::pgwire::api::auth::sasl::SASLAuthStartupHandler;
use datafusion_postgres::pgwire::api::auth::sasl::scram::{SCRAM_ITERATIONS, ScramAuth, gen_salted_password};
use datafusion_postgres::pgwire::api::auth::{AuthSource, DefaultServerParameterProvider, LoginInfo, Password};
use datafusion_postgres::pgwire::error::PgWireResult;
use stream::secret::Secret;

/// Who may log in. The password itself is not kept.
pub(crate) struct Account {
    user: String,
    salt: Vec<u8>,
    salted: Vec<u8>,
    /// Certificate chain in PEM, for clients that bind their login to the channel.
    certificate: Option<Vec<u8>>,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl Account {
    pub fn new(user: &str, password: &Secret, certificate: Option<Vec<u8>>) -> Self {
        let salt = rand::random::<[u8; 16]>().to_vec();
        Account {
            user: user.to_owned(),
            salted: gen_salted_password(password.expose(), &salt, SCRAM_ITERATIONS),
            salt,
            certificate,
        }
    }

    /// The login of one connection.
    pub fn login(self: &Arc<Self>) -> SASLAuthStartupHandler<DefaultServerParameterProvider> {
        let mut scram = ScramAuth::new(self.clone());
        scram.set_iterations(SCRAM_ITERATIONS);
        if let Some(certificate) = &self.certificate
            && let Err(error) = scram.configure_certificate(certificate)
        {
            tracing::debug!(%error, "logins are not bound to the certificate");
        }
        let mut parameters = DefaultServerParameterProvider::default();
        parameters.server_version = sql::POSTGRES_VERSION.to_owned();
        parameters.is_superuser = false;
        parameters.default_transaction_read_only = true;
        SASLAuthStartupHandler::new(Arc::new(parameters)).with_scram(scram)
    }
}

#[async_trait]
impl AuthSource for Account {
    async fn get_password(&self, login: &LoginInfo) -> PgWireResult<Password> {
        let salted = match login.user() {
            Some(user) if user == self.user => self.salted.clone(),
            // Goes the same way, and fails at its end: nobody learns which names there are.
            _ => rand::random::<[u8; 32]>().to_vec(),
        };
        Ok(Password::new(Some(self.salt.clone()), salted))
    }
}
