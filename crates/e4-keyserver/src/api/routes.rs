//! All endpoints, and their description as `OpenAPI`.

use super::{
    Api, access, audit, devices, events, gate, groups, import, invitations, orders, server,
    table::{Endpoint, TABLE, Takes},
    tokens, topics, watch,
};
use e4_keyserver_api as said;
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, OpenApi, OpenApiBuilder, Ref, RefOr, ResponseBuilder,
    ServerBuilder,
    path::{Operation, ParameterBuilder, ParameterIn, PathItem},
    schema::{ObjectBuilder, Type},
    security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::{router::OpenApiRouter, routes};

/// Endpoints behind the gate; who may is in the table.
pub(super) fn endpoints() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(about())
        .routes(routes!(watch::health))
        .routes(routes!(watch::ready))
        .routes(routes!(watch::metrics))
        .routes(routes!(watch::openapi))
        .routes(routes!(devices::list, devices::add))
        .routes(routes!(import::import))
        .routes(routes!(devices::get, devices::change))
        .routes(routes!(devices::holds))
        .routes(routes!(devices::withdraw))
        .routes(routes!(devices::rotate_key))
        .routes(routes!(invitations::make_bundle))
        .routes(routes!(invitations::invite))
        .routes(routes!(invitations::fetch))
        .routes(routes!(invitations::register))
        .routes(routes!(groups::list, groups::add))
        .routes(routes!(groups::get, groups::change, groups::remove))
        .routes(routes!(groups::add_member, groups::remove_member))
        .routes(routes!(topics::list, topics::add))
        .routes(routes!(topics::get, topics::change, topics::remove))
        .routes(routes!(topics::keys))
        .routes(routes!(topics::rotate))
        .routes(routes!(access::list))
        .routes(routes!(access::give_device, access::take_device))
        .routes(routes!(access::give_group, access::take_group))
        .routes(routes!(orders::list))
        .routes(routes!(orders::get))
        .routes(routes!(orders::cancel))
        .routes(routes!(audit::list))
        .routes(routes!(audit::export))
        .routes(routes!(tokens::list, tokens::add))
        .routes(routes!(tokens::remove))
        .routes(routes!(events::listen))
        .routes(routes!(server::status))
        .routes(routes!(server::exposure))
        .routes(routes!(server::release))
        .routes(routes!(server::keys))
        .routes(routes!(server::rotate_key))
}

const TOKEN: &str = "token";

fn about() -> OpenApi {
    let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
    let components = ComponentsBuilder::new()
        .security_scheme(TOKEN, SecurityScheme::Http(scheme))
        .schema(said::Problem::name(), said::Problem::schema())
        .schema(said::LineError::name(), said::LineError::schema())
        .build();
    let info = InfoBuilder::new()
        .title("E4 key server")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Says who may read and write which MQTT topics of a fleet, and makes it true on every device.",
        ))
        .build();
    OpenApiBuilder::new()
        .info(info)
        .components(Some(components))
        .servers(Some([ServerBuilder::new().url("/").build()]))
        .build()
}

/// Adds to the description what holds for all endpoints: who may, what is refused, and the headers that the gate reads.
pub(super) fn describe(mut openapi: OpenApi) -> OpenApi {
    for endpoint in TABLE {
        let item = openapi.paths.paths.get_mut(endpoint.path);
        if let Some(operation) = item.and_then(|item| operation(item, endpoint.method)) {
            describe_one(operation, endpoint);
        }
    }
    openapi
}

pub(super) fn operation<'i>(item: &'i mut PathItem, method: &str) -> Option<&'i mut Operation> {
    match method {
        "GET" => item.get.as_mut(),
        "POST" => item.post.as_mut(),
        "PUT" => item.put.as_mut(),
        "PATCH" => item.patch.as_mut(),
        "DELETE" => item.delete.as_mut(),
        _ => None,
    }
}

fn describe_one(operation: &mut Operation, endpoint: &Endpoint) {
    match endpoint.takes {
        Takes::Anyone => operation.security = Some(vec![]),
        Takes::Metrics | Takes::Holder(_) => {
            operation.security = Some(vec![SecurityRequirement::new(TOKEN, Vec::<String>::new())]);
        }
    }
    if let Takes::Holder(role) = endpoint.takes {
        let about = operation.description.take().unwrap_or_default();
        operation.description =
            Some(format!("{about}\n\nFor the role `{}` and those that include it.", role.word()).trim().to_owned());
    }
    let problem = ContentBuilder::new().schema(Some(RefOr::Ref(Ref::from_schema_name(said::Problem::name())))).build();
    let problem = ResponseBuilder::new()
        .description("Why it was not done, and what to do.")
        .content("application/problem+json", problem)
        .build();
    operation.responses.responses.insert("default".to_owned(), RefOr::T(problem));
    if endpoint.method == "POST" && endpoint.takes != Takes::Anyone {
        header(
            operation,
            gate::IDEMPOTENCY_KEY,
            false,
            "Sent again with the same key, the same request is carried out once.",
        );
    }
    if endpoint.needs_revision() {
        header(operation, "if-match", true, "The ETag of what was seen, or `*` for whatever is there.");
    }
}

fn header(operation: &mut Operation, name: &str, required: bool, about: &str) {
    let schema = ObjectBuilder::new().schema_type(Type::String).build();
    let parameter = ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(if required { utoipa::openapi::Required::True } else { utoipa::openapi::Required::False })
        .description(Some(about))
        .schema(Some(schema))
        .build();
    operation.parameters.get_or_insert_default().push(RefOr::T(parameter));
}
