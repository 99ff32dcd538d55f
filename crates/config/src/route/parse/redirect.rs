//! Parsing of redirects.

use xds_api::envoy::config::route::v3 as pb;

use super::non_empty;
use crate::context::Context;
use crate::rejected::Reported;
use crate::route::{RedirectAction, RedirectPathRewrite, SchemeRewrite};
use crate::string_matcher::parse_regex_rewrite;
use crate::value_format::FormattedText;

impl RedirectAction {
    pub(super) fn parse(context: &mut Context<'_>, message: &pb::RedirectAction) -> Result<Self, Reported> {
        use pb::redirect_action::{PathRewriteSpecifier, RedirectResponseCode, SchemeRewriteSpecifier};
        context.check(message);
        let scheme_rewrite = match &message.scheme_rewrite_specifier {
            Some(SchemeRewriteSpecifier::HttpsRedirect(true)) => Some(SchemeRewrite::Https),
            Some(SchemeRewriteSpecifier::HttpsRedirect(false)) | None => None,
            Some(SchemeRewriteSpecifier::SchemeRedirect(scheme)) => non_empty(scheme).map(SchemeRewrite::Scheme),
        };
        let port_redirect = context.port("port_redirect", message.port_redirect);
        let path_rewrite = match &message.path_rewrite_specifier {
            None => Ok(None),
            Some(PathRewriteSpecifier::PathRedirect(path)) => Ok(non_empty(path).map(RedirectPathRewrite::Path)),
            Some(PathRewriteSpecifier::PrefixRewrite(prefix)) => Ok(non_empty(prefix).map(RedirectPathRewrite::Prefix)),
            Some(PathRewriteSpecifier::RegexRewrite(rewrite)) => context
                .at("regex_rewrite", |context| parse_regex_rewrite(context, rewrite))
                .map(|rewrite| Some(RedirectPathRewrite::Regex(rewrite))),
            Some(PathRewriteSpecifier::PathRewrite(path)) => {
                FormattedText::parse(context, "path_rewrite", path).map(|path| path.map(RedirectPathRewrite::Format))
            }
        };
        let response_code = context
            .enumeration("response_code", message.response_code)
            .map(|code| match code {
                RedirectResponseCode::MovedPermanently => 301,
                RedirectResponseCode::Found => 302,
                RedirectResponseCode::SeeOther => 303,
                RedirectResponseCode::TemporaryRedirect => 307,
                RedirectResponseCode::PermanentRedirect => 308,
            });
        Ok(Self {
            scheme_rewrite,
            host_redirect: non_empty(&message.host_redirect),
            port_redirect: Some(port_redirect?).filter(|port| *port > 0),
            path_rewrite: path_rewrite?,
            response_code: response_code?,
            strip_query: message.strip_query,
        })
    }
}
