# A small static image: the program, the CA bundle and nothing else.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.linked=${VERSION}" -o /out/idbridge ./cmd/idbridge \
 && mkdir -p /out/data && chmod 0700 /out/data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build /out/idbridge /idbridge
COPY --from=build --chown=65532:65532 /out/data /var/lib/idbridge
USER 65532:65532
VOLUME /var/lib/idbridge
EXPOSE 8443 9090
ENV IDBRIDGE_CONFIG=/etc/idbridge/idbridge.yaml
# /readyz is on the metrics listener; point your orchestrator's probes at it.
ENTRYPOINT ["/idbridge"]
CMD ["serve"]
