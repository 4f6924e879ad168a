// A real authorization server (oidc-provider) over TLS.
//
//   node authorization_server.mjs NODE_MODULES CONFIG READY
//
// CONFIG is JSON: {key, certificate, clients}. READY gets {issuer}. Tokens are bound to the caller's certificate, or to its
// key when it sends a DPoP proof; those of a client whose id starts with "opaque" say nothing themselves.
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const [modules, configFile, readyFile] = process.argv.slice(2)
const load = (name) => import(pathToFileURL(createRequire(`${modules}/`).resolve(name)))
const { default: Provider } = await load('oidc-provider')
const jose = await load('jose')
const config = JSON.parse(readFileSync(configFile))
const server = createServer({
  key: readFileSync(config.key),
  cert: readFileSync(config.certificate),
  requestCert: true,
  rejectUnauthorized: false,
})
await new Promise((done) => server.listen(0, '127.0.0.1', done))
const issuer = `https://127.0.0.1:${server.address().port}`
const { privateKey } = await jose.generateKeyPair('ES256', { extractable: true })
const signing = { ...(await jose.exportJWK(privateKey)), alg: 'ES256', use: 'sig', kid: 'as-1' }

const provider = new Provider(issuer, {
  clients: config.clients,
  jwks: { keys: [signing] },
  clientDefaults: {
    id_token_signed_response_alg: 'ES256',
    tls_client_certificate_bound_access_tokens: config.bound,
  },
  cookies: { keys: ['only for tests'] },
  scopes: ['openid', 'mcp'],
  pkce: { required: () => true },
  features: {
    devInteractions: { enabled: true },
    clientCredentials: { enabled: true },
    registration: { enabled: true },
    revocation: { enabled: true, allowedPolicy: () => true },
    introspection: { enabled: true, allowedPolicy: () => true },
    dPoP: { enabled: true },
    mTLS: {
      enabled: true,
      certificateBoundAccessTokens: true,
      getCertificate: (ctx) => ctx.req.socket.getPeerX509Certificate()?.toString(),
    },
    resourceIndicators: {
      enabled: true,
      useGrantedResource: () => true,
      getResourceServerInfo: (ctx, indicator, client) => ({
        scope: 'mcp',
        audience: indicator,
        accessTokenTTL: 600,
        accessTokenFormat: client.clientId.startsWith('opaque') ? 'opaque' : 'jwt',
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
})
server.on('request', provider.callback())
writeFileSync(`${readyFile}.new`, JSON.stringify({ issuer }))
renameSync(`${readyFile}.new`, readyFile)
