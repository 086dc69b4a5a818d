//! Requests as spans. A caller that sends a `traceparent` finds them in its own trace; the answer's `traceresponse` says where they are.

use axum::extract::{MatchedPath, Request};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::Response;
use stream::time::{Clock as _, WallClock};
use stream::trace::{self, Span, SpanKind, TraceContext};

/// The middleware, outside of everything else of `/api`. Query strings and bodies are not told: anything may stand in them.
pub async fn traced(request: Request, next: Next) -> Response {
    let mut sent = request.headers().get_all(trace::HEADER).iter();
    let caller = match (sent.next(), sent.next()) {
        (Some(value), None) => value.to_str().ok().and_then(TraceContext::parse),
        // Two callers cannot both be meant.
        _ => None,
    };
    let context = TraceContext::begun(caller);
    let method = request.method().to_string();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "/api".to_owned(), |path| path.as_str().to_owned());
    let began = WallClock.now();
    let mut response = trace::within(context, next.run(request)).await;
    if context.sampled {
        let mut span = Span::at(context.trace, context.span, format!("{method} {route}"), began)
            .of_kind(SpanKind::Server)
            .with("http.request.method", method)
            .with("http.route", route)
            .with("http.response.status_code", u32::from(response.status().as_u16()));
        span.ended_at = WallClock.now();
        span.parent = caller.map(|caller| caller.span);
        span.error = response
            .status()
            .is_server_error()
            .then(|| response.status().to_string());
        trace::record(span);
    }
    if let Ok(value) = HeaderValue::try_from(context.to_string()) {
        response.headers_mut().insert("traceresponse", value);
    }
    response
}
