// A real authorization server (oidc-provider) and a small resource server that demands its tokens, both over TLS.
//
//   node servers.mjs NODE_MODULES CONFIG READY
//
// CONFIG is JSON: {key, certificate, clients, features, clientCa, tokenSeconds, dpopNonce}. READY gets {issuer, resource}.
// The resource answers every JSON-RPC request with what the token says, and demands that a token which is bound to a
// certificate or a key is shown with it.
import { createHash, X509Certificate } from 'node:crypto'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:https'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const [modules, configFile, readyFile] = process.argv.slice(2)
const load = async (name) => import(pathToFileURL(createRequire(`${modules}/`).resolve(name)))
const { default: Provider } = await load('oidc-provider')
const jose = await load('jose')
const config = JSON.parse(readFileSync(configFile))
const tls = {
  key: readFileSync(config.key),
  cert: readFileSync(config.certificate),
  ca: readFileSync(config.clientCa),
  requestCert: true,
  rejectUnauthorized: false,
}
const b64 = (data) => Buffer.from(data).toString('base64url')
const certificateOf = (request) => request.socket.getPeerX509Certificate()
const listen = (server) => new Promise((done) => server.listen(0, '127.0.0.1', () => done(server.address().port)))
// Each word of the log is a line on standard output, so that a test sees what the endpoints were asked.
const say = (...words) => process.stdout.write(JSON.stringify(words) + '\n')

const { privateKey } = await jose.generateKeyPair('ES256', { extractable: true })
const signing = { ...(await jose.exportJWK(privateKey)), alg: 'ES256', use: 'sig', kid: 'first' }

const authorization = createServer(tls)
const issuer = `https://127.0.0.1:${await listen(authorization)}`
const resources = createServer(tls)
const resource = `https://127.0.0.1:${await listen(resources)}/mcp`

const provider = new Provider(issuer, {
  clients: config.features.mtls ? config.clients : [],
  jwks: { keys: [signing] },
  clientDefaults: { id_token_signed_response_alg: 'ES256' },
  cookies: { keys: ['only for tests'] },
  scopes: ['openid', 'offline_access', 'mcp:use', 'mcp:write'],
  ttl: {
    AccessToken: config.tokenSeconds, ClientCredentials: config.tokenSeconds, RefreshToken: 3600,
    Grant: 3600, Interaction: 600, Session: 3600, AuthorizationCode: 60,
  },
  clientAuthMethods: ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt',
    ...(config.features.mtls ? ['tls_client_auth'] : [])],
  rotateRefreshToken: true,
  pkce: { required: () => true },
  features: {
    devInteractions: { enabled: true },
    clientCredentials: { enabled: true },
    registration: { enabled: true },
    revocation: { enabled: true },
    pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: config.features.par === true },
    dPoP: { enabled: config.features.dpop === true },
    mTLS: {
      enabled: config.features.mtls === true,
      certificateBoundAccessTokens: true,
      tlsClientAuth: true,
      getCertificate: (ctx) => certificateOf(ctx.req)?.toString(),
      certificateAuthorized: (ctx) => ctx.req.socket.authorized,
      certificateSubjectMatches: (ctx, property, expected) =>
        (certificateOf(ctx.req)?.subjectAltName ?? '').split(', ').includes(`URI:${expected}`),
    },
    resourceIndicators: {
      enabled: true,
      useGrantedResource: () => true,
      getResourceServerInfo: (ctx, indicator) => {
        if (!/^https:\/\/127\.0\.0\.1:\d+\/mcp$/.test(indicator)) throw Object.assign(new Error('invalid_target'), { error: 'invalid_target', status: 400, expose: true })
        return { scope: 'mcp:use mcp:write', audience: indicator, accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } } }
      },
    },
  },
})
provider.on('server_error', (ctx, error) => say('server_error', error.message))
provider.use(async (ctx, next) => {
  await next()
  if (ctx.method === 'POST' && ctx.path !== '/reg') {
    const body = ctx.oidc?.body ?? {}
    say('endpoint', ctx.path, body.grant_type ?? '', ctx.status, body.resource ?? '')
  } else if (ctx.path.startsWith('/reg') || ctx.path === '/auth') say('endpoint', ctx.path, '', ctx.status, '')
})
authorization.on('request', provider.callback())

const keys = jose.createLocalJWKSet({ keys: [{ ...signing, d: undefined }] })
let nonces = 0

async function judge (request) {
  const [scheme, token] = (request.headers.authorization ?? '').split(' ')
  if (!token) throw { error: undefined }
  const { payload } = await jose.jwtVerify(token, keys, { issuer, audience: resource, typ: 'at+jwt' })
  const bound = payload.cnf ?? {}
  if (config.bound && !bound.jkt && !bound['x5t#S256']) throw { error: 'invalid_token', text: 'not bound' }
  if (bound['x5t#S256']) {
    const shown = certificateOf(request)
    if (!shown || b64(createHash('sha256').update(shown.raw).digest()) !== bound['x5t#S256']) throw { error: 'invalid_token', text: 'another certificate' }
  }
  if (bound.jkt) {
    if (scheme !== 'DPoP') throw { error: 'invalid_token', text: 'not presented as DPoP' }
    const proof = await jose.jwtVerify(request.headers.dpop, jose.EmbeddedJWK, { typ: 'dpop+jwt', algorithms: ['ES256'] })
    const { jwk } = proof.protectedHeader
    const said = proof.payload
    if (await jose.calculateJwkThumbprint(jwk) !== bound.jkt) throw { error: 'invalid_token', text: 'another key' }
    if (said.htm !== request.method || said.htu !== resource) throw { error: 'invalid_dpop_proof', text: 'another request' }
    if (said.ath !== b64(createHash('sha256').update(token).digest())) throw { error: 'invalid_dpop_proof', text: 'another token' }
    if (config.dpopNonce && !(Number(said.nonce?.slice(1)) <= nonces)) throw { error: 'use_dpop_nonce' }
  } else if (scheme !== 'Bearer') throw { error: 'invalid_token', text: 'not presented as Bearer' }
  return payload
}

resources.on('request', async (request, response) => {
  const pieces = []
  for await (const piece of request) pieces.push(piece)
  const answer = (status, document, headers = {}) => {
    response.writeHead(status, { 'content-type': 'application/json', ...headers })
    response.end(JSON.stringify(document))
  }
  if (request.url === '/.well-known/oauth-protected-resource/mcp') {
    return answer(200, { resource, authorization_servers: [issuer], scopes_supported: ['mcp:use'] })
  }
  const message = pieces.length ? JSON.parse(Buffer.concat(pieces)) : {}
  let claims
  try {
    claims = await judge(request)
  } catch (problem) {
    const { error = problem.code ? 'invalid_token' : undefined, text } = problem
    say('refused', error ?? '', text ?? problem.code ?? '')
    const scheme = error === 'use_dpop_nonce' ? 'DPoP' : 'Bearer'
    const said = error ? `error="${error}", ` : ''
    const headers = { 'www-authenticate': `${scheme} ${said}resource_metadata="${new URL('/.well-known/oauth-protected-resource/mcp', resource)}"` }
    if (error === 'use_dpop_nonce') headers['dpop-nonce'] = `n${++nonces}`
    return answer(401, { jsonrpc: '2.0', id: null, error: { code: 40101, message: 'not authenticated' } }, headers)
  }
  if (message.params?.name === 'write' && !claims.scope.split(' ').includes('mcp:write')) {
    const scheme = claims.cnf?.jkt ? 'DPoP' : 'Bearer'
    return answer(403, { jsonrpc: '2.0', id: message.id, error: { code: 40301, message: 'scope' } },
      { 'www-authenticate': `${scheme} error="insufficient_scope", scope="mcp:use mcp:write"` })
  }
  if (message.id === undefined) return answer(202, {})
  answer(200, { jsonrpc: '2.0', id: message.id, result: { claims } })
})

writeFileSync(`${readyFile}.new`, JSON.stringify({ issuer, resource }))
renameSync(`${readyFile}.new`, readyFile)
