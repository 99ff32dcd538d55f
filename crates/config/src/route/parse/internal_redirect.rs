//! Parsing of which redirects are followed here.

use std::sync::Arc;

use xds_api::envoy::config::core::v3 as core;
use xds_api::envoy::config::route::v3 as pb;
use xds_api::envoy::extensions::internal_redirect::allow_listed_routes::v3 as allow_listed_routes;

use crate::context::Context;
use crate::extensions::message_name;
use crate::rejected::Reported;
use crate::route::{InternalRedirectPolicy, InternalRedirectPredicate};
use crate::string_matcher::header_name;

const PREVIOUS_ROUTES: &str = "envoy.extensions.internal_redirect.previous_routes.v3.PreviousRoutesConfig";
const ALLOW_LISTED_ROUTES: &str = "envoy.extensions.internal_redirect.allow_listed_routes.v3.AllowListedRoutesConfig";
const SAFE_CROSS_SCHEME: &str = "envoy.extensions.internal_redirect.safe_cross_scheme.v3.SafeCrossSchemeConfig";

impl InternalRedirectPolicy {
    pub(super) fn parse(context: &mut Context<'_>, message: &pb::InternalRedirectPolicy) -> Result<Self, Reported> {
        context.check(message);
        if message.redirect_response_codes.len() > 5 {
            context.reject_field("redirect_response_codes", "has more than 5 entries");
        }
        // As in Envoy: a status that is no redirect is passed over.
        let codes: Result<Vec<Option<u16>>, _> = context.each(
            "redirect_response_codes",
            &message.redirect_response_codes,
            |context, code| match *code {
                301 | 302 | 303 | 307 | 308 => Ok(Some(*code as u16)),
                _ => {
                    context.without_effect("", "only 301, 302, 303, 307 and 308 are redirects");
                    Ok(None)
                }
            },
        );
        let predicates = context.each("predicates", &message.predicates, parse_predicate);
        let mut seen: Vec<Arc<str>> = Vec::new();
        let headers = context.each(
            "response_headers_to_copy",
            &message.response_headers_to_copy,
            |context, name| {
                let found = header_name(name)
                    .ok_or_else(|| context.reject(format!("is {name:?}, expected the name of a header")))?;
                if found.starts_with(':') {
                    return Err(context.reject(format!("is {name:?}: pseudo-headers are not copied")));
                }
                if seen.contains(&found) {
                    return Err(context.reject(format!("is {name:?}, which is there already")));
                }
                seen.push(Arc::clone(&found));
                Ok(found)
            },
        );
        let codes: Vec<u16> = codes?.into_iter().flatten().collect();
        Ok(Self {
            max_internal_redirects: message.max_internal_redirects.map_or(1, |most| most.value),
            redirect_response_codes: if codes.is_empty() { vec![302] } else { codes },
            predicates: predicates?,
            allow_cross_scheme_redirect: message.allow_cross_scheme_redirect,
            response_headers_to_copy: headers?,
        })
    }
}

fn parse_predicate(
    context: &mut Context<'_>,
    message: &core::TypedExtensionConfig,
) -> Result<InternalRedirectPredicate, Reported> {
    context.check(message);
    context.required("typed_config", message.typed_config.as_ref(), |context, any| {
        let any = context.unwrap_any(any)?;
        match message_name(&any.type_url) {
            PREVIOUS_ROUTES => Ok(InternalRedirectPredicate::PreviousRoutes),
            SAFE_CROSS_SCHEME => Ok(InternalRedirectPredicate::SafeCrossScheme),
            ALLOW_LISTED_ROUTES => {
                let message: allow_listed_routes::AllowListedRoutesConfig = context.decode(&any.value)?;
                context.check(&message);
                let names = context.each(
                    "allowed_route_names",
                    &message.allowed_route_names,
                    |context, name| match name.is_empty() {
                        true => Err(context.reject("is empty")),
                        false => Ok(Arc::from(name.as_str())),
                    },
                );
                names.map(InternalRedirectPredicate::AllowListedRoutes)
            }
            other => Err(context.reject(format!("internal redirect predicate {other:?} is not supported"))),
        }
    })
}
